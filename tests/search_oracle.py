"""Our residual search, transcribed with loops on top of the paper's in `oracle.py`."""

import itertools

import torch
from oracle import Oracle, composed


class SearchOracle(Oracle):
    """Looks at the image beside the rest before each choice."""

    def predict(self) -> None:
        """Predict the backgrounds alone: layers are looked for one by one."""
        if self.config.backgrounds:
            self.prediction = self.model.predictor(torch.cat([self.images, self.images * 0], dim=1))

    def look(self, i: int, avoided: list[int]) -> list[tuple]:
        """Predict layer i of each image from it beside what the other layers explain of it.

        Attention does not return to where the `avoided` layers were found.
        """
        rests = torch.stack([
            composed(scene.put(i, self.nothing).layers(), self.delta(b))
            for b, scene in enumerate(self.scenes)
        ])  # fmt: skip
        places, at = None, self.model.predictor.at
        if avoided and at is not None:
            found = [[scene.objects[j].found[0][at] for j in avoided] for scene in self.scenes]
            places = torch.stack([torch.stack(each) for each in found]).tanh()
        with torch.enable_grad():
            look = self.model.predictor(torch.cat([self.images, rests.detach()], dim=1), places)
            return list(zip(look.layer[:, 0], look.sprite[:, 0], look.features[:, 0], strict=True))

    def delta(self, b: int) -> list[list]:
        """Image b's occlusion matrix: predicted among layers looked for, the others in order."""
        objects, L = self.scenes[b].objects, self.config.layers
        seen = [i for i, choice in enumerate(objects) if choice.found is not None]
        delta = [[float(j > i) for i in range(L)] for j in range(L)]
        if self.config.occlusion == "predicted" and len(seen) > 1:
            nothing = torch.zeros_like(objects[seen[0]].found[2])
            features = [nothing if choice.found is None else choice.found[2] for choice in objects]
            logits = self.model.predictor.occlusion_logits(torch.stack(features)[None])[0]
            predicted = self.delta_of(logits)
            for j, i in itertools.permutations(seen, 2):
                delta[j][i] = predicted[j][i]
        return self.below(delta)

    @torch.no_grad()
    def select_greedily(self, steps: int) -> None:
        """Algorithm 1 with a look before each choice.

        At inference later iterations count only if they help, and every other one empties two
        layers at a time, of which the first is sought elsewhere.
        """
        L, images = self.config.layers, range(len(self.scenes))
        for step in range(steps):
            for b in images:
                self.keep_best(b, self.backdrops(b))
            again = not self.model.training and step > 0
            for first in range(L):
                former = list(self.scenes)
                block = [first, (first + 1) % L] if again and step % 2 == 0 else [first]
                for i, b in itertools.product(block, images):
                    gone = self.scenes[b].objects[i]._replace(k=0, layer=self.nothing.layer)
                    self.scenes[b] = self.scenes[b].put(i, gone)
                for place, i in enumerate(block[:L]):
                    elsewhere = len(block) == 2 and place == 0 and step % 4 == 2
                    avoided = block if elsewhere else []
                    for b, found in enumerate(self.look(i, avoided)):
                        self.scenes[b] = self.scenes[b].put(i, self.nothing._replace(found=found))
                        self.choose_sprite(b, i)
                for b, scene in enumerate(former):
                    if again:
                        self.keep_best(b, [scene, self.scenes[b]])
