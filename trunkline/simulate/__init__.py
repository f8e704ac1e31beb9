"""`trunkline simulate`: calls played by the sandbox Vapi against a running installation, and whether both keep the same books."""
