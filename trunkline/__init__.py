"""The multi-tenant backend behind a fleet of Vapi voice assistants; this room holds its command line and what needs several rooms."""
