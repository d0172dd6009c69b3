"""A scene as an image and as a mask, by Cycles, Blender's path tracer, on one core.

Ground, lights and materials are written after the published description of CLEVR (Johnson et al.
2017, supplement); powers, places and tones were fitted to the look of its images. The frame is the
crop of the official CLEVR6: the central 192 of 320x240 pixels, a little lowered.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from jaxtyping import UInt8
from mathutils import Vector
from PIL import Image

from dtis_core.rendering.sampling import COLOURS, LIGHTS, Scene, Solid

VERSION = f"Blender {bpy.app.version_string}"
SAMPLES = 16  # paths from each pixel, denoised
LENS, SENSOR = 35.0, 32.0 * 192 / 320  # millimetres
LOWERED = 5 / 192  # of the frame's side

PLACES = {"key": (6.1, -2.6, 4.1), "fill": (-4.7, -3.5, 2.5), "back": (-1.4, 3.1, 5.5)}
POWERS = {"key": 86.0, "fill": 21.0, "back": 40.0}  # watts
TINTS = {"key": (1.0, 0.93, 0.8), "fill": (0.69, 0.76, 1.0), "back": (1.0, 1.0, 1.0)}
LIGHT_SIDE = 0.7
SKY, MIRRORED_SKY = 0.232, 0.07  # metal mirrors a darker sky than the one that lights all

GROUND = (0.6, 0.6, 0.6)
DULLED = {"rubber": 0.8, "metal": 1.0}  # the share of a colour that is reflected
ROUGHNESS = {"rubber": 0.6, "metal": 0.25, "ground": 1.0}
GLOSS = {"rubber": 0.3, "metal": 0.5, "ground": 0.0}
BEVEL = 0.15  # of half a width


def draw_image(scene: Scene, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Return a scene as the camera sees it, in sRGB."""
    _begin(scene, size)
    settings = bpy.context.scene
    settings.view_settings.view_transform = "Standard"
    settings.cycles.samples, settings.cycles.use_denoising = SAMPLES, True
    _add_sky()
    _add_lights(scene)
    _add_ground()
    for solid in scene.solids:
        tone = [DULLED[solid.material] * value / 255 for value in COLOURS[solid.colour]]
        _add_solid(solid, _surface(solid.material, tone))
    return _shoot()


def draw_mask(scene: Scene, size: int) -> UInt8[np.ndarray, "size size"]:
    """Return which object each pixel's centre shows: 0 none, m the m-th."""
    _begin(scene, size)
    settings = bpy.context.scene
    settings.view_settings.view_transform = "Raw"
    settings.cycles.samples, settings.cycles.use_denoising = 1, False
    settings.cycles.pixel_filter_type, settings.cycles.filter_width = "BOX", 0.01
    for m, solid in enumerate(scene.solids, start=1):
        _add_solid(solid, _glow(m / 255))
    return _shoot()[..., 0]


def _begin(scene: Scene, size: int) -> None:
    """Empty Blender's world, but for the scene's camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    settings = bpy.context.scene
    settings.render.engine = "CYCLES"
    settings.render.threads_mode, settings.render.threads = "FIXED", 1
    settings.render.resolution_x = settings.render.resolution_y = size
    settings.render.image_settings.color_mode = "RGB"
    settings.render.dither_intensity = 0.0
    settings.cycles.use_adaptive_sampling = False
    camera = bpy.data.cameras.new("camera")
    camera.lens, camera.sensor_width, camera.shift_y = LENS, SENSOR, -LOWERED
    settings.camera = _add(camera)
    _aim(settings.camera, scene.camera)


def _shoot() -> UInt8[np.ndarray, "size size 3"]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.png"
        bpy.context.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))


def _add(data: bpy.types.ID) -> bpy.types.Object:
    thing = bpy.data.objects.new(data.name, data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def _aim(thing: bpy.types.Object, place: Sequence[float]) -> None:
    """Put a camera or a light somewhere, turned to the origin."""
    thing.location = place
    thing.rotation_euler = (-Vector(place)).to_track_quat("-Z", "Y").to_euler()


def _add_lights(scene: Scene) -> None:
    for name, shift in zip(LIGHTS, scene.shifts, strict=True):
        light = bpy.data.lights.new(name, "AREA")
        light.energy, light.color, light.size = POWERS[name], TINTS[name], LIGHT_SIDE
        _aim(_add(light), PLACES[name] + shift)


def _add_sky() -> None:
    """Light everything evenly, and show mirrors something else."""
    world = bpy.context.scene.world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    ray, strength = nodes.new("ShaderNodeLightPath"), nodes.new("ShaderNodeMapRange")
    strength.inputs["To Min"].default_value = SKY
    strength.inputs["To Max"].default_value = MIRRORED_SKY
    sky = nodes["Background"].inputs
    sky["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    links.new(ray.outputs["Is Glossy Ray"], strength.inputs["Value"])
    links.new(strength.outputs["Result"], sky["Strength"])


def _add_ground() -> None:
    mesh = bpy.data.meshes.new("ground")
    far = 50.0
    corners = [(-far, -far, 0.0), (far, -far, 0.0), (far, far, 0.0), (-far, far, 0.0)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    mesh.materials.append(_surface("ground", GROUND))
    _add(mesh)


def _add_solid(solid: Solid, material: bpy.types.Material) -> None:
    r, mesh = solid.half_height, bpy.ops.mesh
    if solid.shape == "cube":
        mesh.primitive_cube_add(size=2 * r)
    elif solid.shape == "sphere":
        mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=r)
    else:
        mesh.primitive_cylinder_add(vertices=96, radius=r, depth=2 * r)
    thing = bpy.context.object
    thing.location = (solid.x, solid.y, r)
    thing.rotation_euler[2] = solid.angle
    thing.data.polygons.foreach_set("use_smooth", [True] * len(thing.data.polygons))
    if solid.shape != "sphere":
        bevel = thing.modifiers.new("rounded", "BEVEL")
        bevel.width, bevel.segments, bevel.limit_method = BEVEL * r, 5, "ANGLE"
        thing.modifiers.new("flat where it is flat", "WEIGHTED_NORMAL")
    thing.data.materials.append(material)


def _surface(kind: str, tone: Sequence[float]) -> bpy.types.Material:
    """Return rubber, metal or ground that reflects `tone`, linear in 0..1."""
    material = bpy.data.materials.new(kind)
    material.use_nodes = True
    surface = material.node_tree.nodes["Principled BSDF"].inputs
    surface["Base Color"].default_value = (*tone, 1.0)
    surface["Metallic"].default_value = float(kind == "metal")
    surface["Roughness"].default_value = ROUGHNESS[kind]
    surface["Specular IOR Level"].default_value = GLOSS[kind]
    return material


def _glow(level: float) -> bpy.types.Material:
    """Return what is equally bright from everywhere, unlit."""
    material = bpy.data.materials.new("glow")
    material.use_nodes = True
    surface = material.node_tree.nodes["Principled BSDF"].inputs
    surface["Base Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    surface["Specular IOR Level"].default_value = 0.0
    surface["Emission Color"].default_value = (level, level, level, 1.0)
    surface["Emission Strength"].default_value = 1.0
    return material
