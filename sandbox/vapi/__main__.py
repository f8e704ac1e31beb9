from sandbox.serving import main
from sandbox.vapi import VapiSandbox

main("sandbox.vapi", lambda: VapiSandbox().application())
