from sandbox.serving import main
from sandbox.twilio import TwilioSandbox

main("sandbox.twilio", lambda: TwilioSandbox().application())
