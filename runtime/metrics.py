"""Every metric, with what to do about it. Labels never hold an id that grows without bound."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

WEBHOOKS = Counter("trunkline_webhooks", "Webhooks by the status of their answer; watch the share of 503 and 500", ["status"])
WEBHOOK_REFUSALS = Counter(
    "trunkline_webhook_refusals",
    "Deliveries refused for their credential, by reason; `trunkline doctor webhook` explains a captured one",
    ["reason"],
)
EFFECTS = Counter("trunkline_effects", "Effects claimed, replayed, in conflict, or run unchecked while the switch is off", ["outcome"])
RUNS = Counter("trunkline_runs", "Calls of tenants' own tools by how they ended; dead and late need eyes", ["outcome"])
DEAD = Counter("trunkline_dead_webhooks", "Webhooks that were taken and could not be handled: read GET /v1/webhooks?state=dead", ["type"])
WEBHOOK_SECONDS = Histogram(
    "trunkline_webhook_seconds", "Time to answer a webhook", buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 8)
)
REQUESTS = Counter("trunkline_http_requests", "Requests by route template and status class", ["status"])
TOOL_CALLS = Counter("trunkline_tool_calls", "Calls of tenants' own tools; not_reached and doubtful are a tool in trouble", ["outcome"])
TOOL_BREAKERS_OPENED = Counter("trunkline_tool_breakers_opened", "Times a tool that kept failing was left alone for a while")
ANSWERS = Counter(
    "trunkline_answers",
    "Messages that an endpoint of a tenant's own was to answer, by whether it did; else the safe answer stood",
    ["type", "outcome"],
)
PHONE_CALL_CONTROL = Counter(
    "trunkline_phone_call_control",
    "Calls that Vapi left to be forwarded or hung up by its subscriber: nobody does; unsubscribe the assistant",
)
ACTIVITY_DROPPED = Counter("trunkline_activity_dropped", "Notes of high-frequency messages that found no room while storage was in trouble")
STORAGE_TROUBLE = Counter("trunkline_storage_trouble", "Passing storage conditions by name; a rising one is an outage", ["condition"])
TEXT_REFUSALS = Counter(
    "trunkline_text_refusals",
    "Texts of tool calls that a tenant's policy refused, by reason; many of one kind are a caller who tries the assistant out",
    ["reason"],
)
SENDS = Counter("trunkline_sends", "Attempts at Twilio by outcome; unknown and refused need eyes", ["outcome"])
ACCEPT_TO_SEND = Histogram(
    "trunkline_accept_to_send_seconds",
    "From due to Twilio's answer, slots included",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
PRICED = Counter("trunkline_priced_texts", "Texts whose price Twilio told after they had ended, and which stands on the ledger")
QUEUE_DROPPED = Counter("trunkline_queue_dropped", "Texts of class marketing that were dropped because their tenant's queue was too long")
QUIET_HOURS = Counter(
    "trunkline_quiet_hours",
    "Texts found outside their hours just before they left: put_off waits for them, observed left all the same",
    ["outcome"],
)
PACING_OBSERVED = Counter("trunkline_pacing_observed", "Texts that would have waited for their slots, and left at once: pacing is observed")
TURNS_MISSED = Counter(
    "trunkline_turns_missed", "Texts whose account had as many requests in flight as it may have, until their slots were over"
)
PACER_CLOSED = Counter("trunkline_pacer_closed", "Looks at the pacer that failed: Redis is away and nothing leaves")
IN_FLIGHT = Gauge("trunkline_sends_in_flight", "Messages leased by this worker and not yet settled")
QUEUED_MESSAGES = Gauge("trunkline_queued_messages", "Texts that wait, scheduled ones too; `trunkline queue` shows whose")
QUEUED_SEGMENTS = Gauge("trunkline_queued_segments", "Segments of the texts that wait, which is what the pace counts")
HELD_REGISTRATIONS = Gauge("trunkline_held_registrations", "Registrations of which nothing leaves; `trunkline queue` says why")
LATE_SECONDS = Gauge(
    "trunkline_queue_late_seconds", "By how much the most overdue registration waits for its turn; over a few seconds workers are missing"
)
DAY_CAPS = Counter("trunkline_day_caps", "Days of a brand at T-Mobile that were used up, by the callbacks that told it first")
SIGNALS = Counter(
    "trunkline_signals",
    "Answers of Twilio's to a text that slow down, hold or stop its sender, by what they ask for; GET /v1/limits says what was learned",
    ["action"],
)
LEARNED = Counter(
    "trunkline_learned", "What callbacks taught that was new, by action; open_circuit and stop_sender wait for their tenant", ["action"]
)
RECEIPTS = Counter("trunkline_receipts", "Status callbacks by what became of them", ["outcome"])
VAPI_SETUPS = Counter(
    "trunkline_vapi_setups",
    "Assistants configured at Vapi: done, refused (all is as it was), left (what was changed could not be put back)",
    ["outcome"],
)
LATE_CALLS = Counter(
    "trunkline_late_calls",
    "Calls whose report never came, by what asking Vapi showed; refused, unopened and keyless need a key that works (PUT /v1/vapi)",
    ["outcome"],
)
CALLS_NOTED = Counter("trunkline_calls_noted", "Calls that only tool calls had spoken of")
DUTIES = Counter("trunkline_duties", "Periodic duties by name and outcome", ["duty", "outcome"])
BODIES = Counter("trunkline_bodies", "Bodies to be kept, by whether they were; failed means a missing day or storage trouble", ["outcome"])
EVENTS_WITHOUT_TENANT = Counter(
    "trunkline_sentry_events_without_tenant", "Events for Sentry that named no tenant, not even none: a job without a scope, a bug of ours"
)

# On the way of each webhook the series is looked up once for each value of its label, which are few.
webhooks_answered = cache(WEBHOOKS.labels)
requests_answered = cache(REQUESTS.labels)
effects_ended = cache(EFFECTS.labels)
