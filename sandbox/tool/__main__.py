from sandbox.serving import main
from sandbox.tool import ToolSandbox

main("sandbox.tool", lambda: ToolSandbox().application())
