"""Functions of functions: derivatives, and functions of one example applied to a batch.

Arguments and results are tensors or nested containers of them, such as a dict of parameters.
Reverse mode is the only mode there is: see ``autograd/functional.py`` for how J u comes from it.
"""

from ..nn.utils.stateless import functional_call as functional_call
from .derivatives import grad, grad_and_value, vjp
from .jacobians import hessian, jacfwd, jacrev, jvp, linearize
from .state import stack_module_state
from .vmap import vmap

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "vjp",
    "vmap",
]
