"""Pure rules of the control plane: no I/O, no database, no clock of their own."""
