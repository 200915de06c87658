"""
Slopes of activation functions
==============================

A gradient is multiplied by the activation's slope once per layer. What ten layers make of it,
at their very best:
"""

# %%
# ``gradflow.activation`` has the formula and its exact derivative.
import numpy as np

import gradflow

x = np.linspace(-6, 6, 1201)
for name in ("sigmoid", "tanh", "relu", "selu", "gelu"):
    slopes = gradflow.activation(name).derivative(x)
    print(f"{name:8} largest slope {slopes.max():.3f}, ten layers of it {slopes.max() ** 10:.1e}")

# %%
# That is the activation alone; the weights are the other half. A sigmoid network at the usual
# initialisation, measured and as theory says:
result = gradflow.diagnose(gradflow.NetworkConfig(depth=10, act="sigmoid", seeds=20))
print(f"measured {result.rate:.3f} per layer, theory {result.predicted_rate:.3f}")
figure = result.figure()
