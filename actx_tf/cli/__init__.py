"""The command `actx`: flags in, a call of the library, a message out."""
