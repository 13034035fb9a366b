"""Prints the graph description (TOML) of a CIFAR-10 ResNet with option-A shortcuts.

    python resnet_toml.py 3 resnet20.safetensors > resnet20.toml

The first argument is the number of blocks per stage: 3 for ResNet-20, 9 for
ResNet-56. Node names are the tensor names of the PyTorch checkpoint
(akamaster/pytorch_resnet_cifar10).
"""

import sys

HEADER = """\
# ResNet-{depth} for CIFAR-10 (He et al. 2015, option-A shortcuts), with the tensor names
# of the PyTorch checkpoint. Written by tests/scripts/resnet_toml.py.
format = 1
name = "resnet{depth}"
weights = "{weights}"
input = {{ name = "input", shape = [3, 32, 32] }}

[preprocess]
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]"""


def node(name, op, **fields):
    print(f'\n[[node]]\nname = "{name}"\nop = "{op}"')
    for key, value in fields.items():
        if isinstance(value, str):
            value = f'"{value}"'
        elif isinstance(value, list) and isinstance(value[0], str):
            value = "[" + ", ".join(f'"{v}"' for v in value) + "]"
        print(f"{key} = {value}")


def conv_bn(prefix, index, stride, **first):
    node(f"{prefix}conv{index}", "conv2d", **first, padding=1, stride=stride)
    node(f"{prefix}bn{index}", "batch_norm", eps=1e-5)


def block(prefix, source, channels_in, channels):
    """Two 3x3 convolutions and a shortcut. Returns the name of the block's output."""
    stride = 1 if channels == channels_in else 2
    conv_bn(prefix, 1, stride, inputs=[source])
    node(f"{prefix}relu1", "relu")
    conv_bn(prefix, 2, 1)
    shortcut = source
    if stride == 2:
        # Every second pixel, and zero channels on both sides.
        node(f"{prefix}shortcut.slice", "slice", inputs=[source], start=[0, 0, 0], step=[1, 2, 2])
        extra = [(channels - channels_in) // 2, 0, 0]
        shortcut = f"{prefix}shortcut.pad"
        node(shortcut, "pad", before=extra, after=extra)
    node(f"{prefix}add", "add", inputs=[f"{prefix}bn2", shortcut], activation="relu")
    return f"{prefix}add"


def main():
    blocks, weights = int(sys.argv[1]), sys.argv[2]
    print(HEADER.format(depth=6 * blocks + 2, weights=weights))
    conv_bn("", 1, 1)
    node("relu1", "relu")
    last, channels = "relu1", 16
    for stage, wider in enumerate((16, 32, 64), start=1):
        for index in range(blocks):
            last = block(f"layer{stage}.{index}.", last, channels, wider)
            channels = wider
    node("pool", "global_avg_pool")
    node("linear", "linear")


if __name__ == "__main__":
    main()
