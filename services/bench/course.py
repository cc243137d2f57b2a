"""The course's node as a process: ``python -m jetvla.services.bench.course FOLDER PICTURE SENTENCE [--ros]``.

It imports what the node imports, makes the network as its code does (both encoders ``from_pretrained``, then the
trained state over them), and prints a line at its first action. Then it acts once more for every line that it reads,
and ends with its input. This module imports nothing of jetvla, whose imports would be charged to the course.

Without torchvision, the image is resized with Pillow, which is faster than the node's float tensor of a whole image.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

VISION, LANGUAGE, STATE = "vision", "language", "vla_best.pt"
ACTIONS = 7
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EndToEndVLA(nn.Module):
    """The course's network, its fusion without ``batch_first`` included."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.vision_encoder = AutoModel.from_pretrained(folder / VISION)
        self.language_encoder = AutoModel.from_pretrained(folder / LANGUAGE)
        self.tokenizer = AutoTokenizer.from_pretrained(folder / LANGUAGE)
        hidden = self.vision_encoder.config.hidden_size
        layer = nn.TransformerEncoderLayer(d_model=hidden, nhead=8, dim_feedforward=2048)
        self.fusion = nn.TransformerEncoder(layer, num_layers=6, enable_nested_tensor=False)
        self.action_head = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, ACTIONS)
        )

    def forward(self, images: Tensor, sentences: list[str]) -> Tensor:
        seen = self.vision_encoder(pixel_values=images).last_hidden_state
        tokens = self.tokenizer(sentences, return_tensors="pt", padding=True, truncation=True)
        read = self.language_encoder(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state
        actions: Tensor = self.action_head(self.fusion(torch.cat([seen, read], dim=1))[:, 0, :])
        return actions


class Node:
    """One picture and one sentence to an action."""

    def __init__(self, folder: Path, picture: Path, sentence: str) -> None:
        self._picture, self._sentence = picture, sentence
        self._network = EndToEndVLA(folder)
        self._network.load_state_dict(torch.load(folder / STATE))
        self._network.eval()
        self._pixels = self._network.vision_encoder.config.image_size
        self._mean, self._std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))

    def act(self) -> list[float]:
        """The action, [7]."""
        picture = Image.open(self._picture).convert("RGB")
        image = np.array(picture.resize((self._pixels, self._pixels), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(image).permute(2, 0, 1) / 255.0
        with torch.no_grad():
            action = self._network(((pixels - self._mean) / self._std).unsqueeze(0), [self._sentence])
        return list(action[0].tolist())


def main() -> int:
    """Act at once, and then once for every line of the input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("sentence")
    parser.add_argument("--ros", action="store_true", help="be a node of ROS 2 too, with its publisher")
    arguments = parser.parse_args()
    if arguments.ros:
        import rclpy
        from geometry_msgs.msg import Twist

        rclpy.init()
        ros = rclpy.create_node("vla_controller")
        ros.create_publisher(Twist, "/cmd_vel", 10)
    node = Node(arguments.folder, arguments.picture, arguments.sentence)
    print(node.act(), flush=True)
    for _ in sys.stdin:
        print(node.act(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
