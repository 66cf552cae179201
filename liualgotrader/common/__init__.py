"""The ground floor: the values every room passes on, and the ports they pass them through."""
