"""Makes the golden gradients and steps of training, with PyTorch (2.15 was used) in f64 throughout.

    python make_goldens.py        # in this folder; needs torch and safetensors

`initial.safetensors` are the weights of `model.toml`; `golden.safetensors` holds inputs, labels, and
after `grad.` the gradients of the first step, after the name of an optimiser the weights after three.
"""

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

SAMPLES, CLASSES, STEPS, SMOOTHING = 20, 5, 3, 0.1


class Net(nn.Module):
    """What model.toml describes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, groups=8, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(8)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.uneven = nn.Conv2d(16, 6, (2, 3), stride=(1, 2))
        self.fc1 = nn.Linear(6 * 2, 12)
        self.fc2 = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = F.relu(self.stem_bn(self.stem(x)))
        x = F.relu(self.grouped(x) + x)
        down = F.pad(x, (0, 1, 0, 1))
        down = F.hardswish(self.depthwise_bn(self.depthwise(down)))
        down = F.silu(self.pointwise(down))
        pooled = F.max_pool2d(x, 3, stride=2, padding=1)
        x = torch.cat([down, pooled], 1)
        x = F.gelu(self.uneven(F.pad(x, (0, 2, 1, 0))))
        x = F.avg_pool2d(x, (2, 1), stride=(2, 1))
        x = torch.tanh(self.fc1(x.flatten(1)))
        return self.fc2(x)


def steps(start, optimiser, x, labels):
    net = Net().double()
    net.load_state_dict(start)
    optimiser = optimiser(net.parameters())
    gradients = {}
    for step in range(STEPS):
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x), labels, label_smoothing=SMOOTHING)
        loss.backward()
        if step == 0:
            gradients = {name: p.grad.clone() for name, p in net.named_parameters()}
            gradients["loss"] = loss.detach().reshape(1)
        optimiser.step()
    return gradients, net.state_dict()


def main():
    torch.manual_seed(1)
    net = Net()
    for norm in (net.stem_bn, net.depthwise_bn):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    start = net.state_dict()
    x, labels = torch.randn(SAMPLES, 3, 6, 6), torch.randint(CLASSES, (SAMPLES,))
    optimisers = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
        "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.8, weight_decay=0.01, nesterov=True),
        "plain": lambda p: torch.optim.SGD(p, 0.1),
        "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.02),
        "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    }
    golden = {"x": x, "labels": labels.float()}
    for name, optimiser in optimisers.items():
        gradients, end = steps(start, optimiser, x.double(), labels)
        golden |= {f"grad.{key}": value for key, value in gradients.items()}
        golden |= {f"{name}.{key}": value for key, value in end.items() if "num_batches" not in key}
    single = lambda tensors: {k: v.float().contiguous() for k, v in tensors.items() if "num_batches" not in k}
    save_file(single(golden), "golden.safetensors")
    save_file(single(start), "initial.safetensors")


main()
