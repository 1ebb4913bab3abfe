"""Laws of a perturbation δ, and what each of them is expected to cost."""
