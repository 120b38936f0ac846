"""Tools beside the tensors: data loading, hooks, parameter vectors."""
