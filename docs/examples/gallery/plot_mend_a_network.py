"""
Mend a network that does not train
==================================

Ten layers of sigmoids. gradflow says what is wrong with them and tries what may help.
"""

# %%
# A network can be described by a few options; nothing else is needed.
import gradflow

sick = gradflow.diagnose(gradflow.NetworkConfig(depth=10, act="sigmoid"))
print(sick.title)

# %%
# The figure shows the gradient of every layer. The input is on the left, and the gradient comes
# from the right: it fades on its way.
figure = sick.figure()
