"""Files that compute log q(θ|x) or draw θ = T(x, z), opened as a density.

`roles` says which input is x, θ and z; `laws` turns the file into the functions an
`ImplicitFamily` takes; `sources` give the θ it is averaged over; `cut` finds what
depends on x alone; `opening` puts them together.
"""
