import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
sign = 1.0 if sys.argv[1] == "broken" else -1.0
policy = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))
adam = torch.optim.Adam(policy.parameters(), lr=5e-3)
best = torch.randn(6, 4)


def reward_of(state, action):
    return ((state @ best).argmax(1) == action).float()


average = 0.0
for step in range(400):
    state = torch.randn(128, 6)
    choice = torch.distributions.Categorical(logits=policy(state))
    action = choice.sample()
    reward = reward_of(state, action)
    average = 0.9 * average + 0.1 * reward.mean().item()
    adam.zero_grad()
    loss = sign * (choice.log_prob(action) * (reward - average)).mean()
    loss.backward()
    adam.step()
state = torch.randn(2000, 6)
value = reward_of(state, policy(state).argmax(1)).mean().item()
print(f"metric reward_accuracy {value:.4f} baseline 0.2500")
