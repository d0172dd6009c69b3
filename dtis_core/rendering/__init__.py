"""Scenes as CLEVR's, for want of the official images: sampled here, rendered by Blender.

Holds what scenes there are (`sampling`), how one becomes an image and its masks (`blender`, which
alone imports bpy, an extra), and the folder that an `order` of them is rendered into (`folder`).
May import: errors, paths and storage.
"""
