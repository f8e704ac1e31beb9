"""What a person who answers a text wants: to hear no more, to hear again, or help.

Twilio itself obeys a single word only (help article 223134027; ARRET and its spellings stand among the opt-out keywords of its Proxy).
The law asks to honour any reasonable wording (47 CFR 64.1200(a)(10)), so STOP is recognised in a sentence too, as long as the sentence
says nothing else: every word of it must belong to a request to stop.
START and HELP stay narrow: they may be said with a "please", because consent is given in so many words.
"""

import re
import unicodedata
from typing import Literal

Meaning = Literal["stop", "start", "help"]


def _vocabulary(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that alone mean STOP; the second group means it only alone, since "cancel my appointment" is about something else.
_STOP = frozenset({"stop", "stopall", "unsubscribe", "unsub", "optout", "revoke", "arret", "arrete", "arrett"})
_STOP_ALONE = frozenset({"end", "quit", "cancel", "remove"})
_START = frozenset({"start", "unstop", "yes"})
_HELP = frozenset({"help", "info"})

_POLITE = _vocabulary("please pls plz kindly thanks thank you now immediately hi hello hey ok okay sir madam asap")
_ASKING = _POLITE | _vocabulary("i im id want would like need could can will must just to be the a this that it all any and")
_CONTACT = _vocabulary(
    "text texts texting message messages messaging msg msgs sms contact contacting send sending call calling spam spamming"
)
_OBJECTS = _vocabulary("me us my our from of on off your you these those more number phone list lists alerts again anymore ever")
_NO_MORE = re.compile(
    r"(?:do not|dont|never|no more|no further) (?:ever )?(?:text|texts|texting|message|messages|messaging|msgs?|sms|contact|send|spam)\b"
)
_LET_GO = re.compile(
    r"(?:remove|delete) (?:me|my number|this number)\b|take (?:me|my number|this number) off\b|leave me alone\b|opt(?:ing)? (?:me )?out\b"
)
_NO_TEXTS = re.compile(
    r"(?:end|quit|cancel) (?:(?:all|the|these|those|your|my|any|sending) )*"
    r"(?:text|texts|texting|message|messages|messaging|msgs?|sms|spam)\b"
)
_LETTING_GO = _vocabulary("do not dont never no further remove delete take leave alone opt opting out")
_REQUEST = _ASKING | _CONTACT | _OBJECTS | _LETTING_GO | _STOP | _STOP_ALONE
_NEGATION = re.compile(r"\b(?:not|dont|never|cant|wont|didnt|no|unless|if|when|until)\b")
_ANSWER_FIRST = re.compile(r"^\s*(?:no|nope|yes|yeah|sorry)\s*,")  # "No, stop texting me" asks to stop; "no stop" may not
_STOP_SIGN = "\U0001f6d1"
_APOSTROPHES = re.compile(r"['\u2019\u2018`]")
_CLAUSES = re.compile(r"[.!?;:\n\r]+")
_NO_WORD = re.compile(r"[\W_]+")


def meaning(text: str) -> Meaning | None:
    """What the text asks for; None if it is an ordinary answer. A request to stop in any of its sentences counts."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(each))
    folded = _ANSWER_FIRST.sub("", _APOSTROPHES.sub("", plain).replace(_STOP_SIGN, " stop "))
    words = _words(folded)
    if _asks_to_stop(words) or any(_says_stop(_words(clause)) for clause in _CLAUSES.split(folded)):
        return "stop"
    if _only(words, _START):
        return "start"
    if _only(words, _HELP):
        return "help"
    return None


def _words(text: str) -> list[str]:
    return _NO_WORD.sub(" ", text).split()


def _asks_to_stop(words: list[str]) -> bool:
    """The whole text is one of Twilio's words, said politely at most, or asks in a sentence."""
    return _only(words, _STOP | _STOP_ALONE) or _says_stop(words)


def _only(words: list[str], wanted: frozenset[str]) -> bool:
    said = [word for word in words if word not in _POLITE]
    return len(said) == 1 and said[0] in wanted


def _says_stop(words: list[str]) -> bool:
    """Nothing in the sentence is about anything but hearing no more."""
    sentence = " ".join(words)
    if not _REQUEST.issuperset(words):
        return False
    if _NEGATION.search(sentence):
        return bool(_NO_MORE.search(sentence)) and _STOP.isdisjoint(words)
    return not _STOP.isdisjoint(words) or any(asked.search(sentence) for asked in (_LET_GO, _NO_TEXTS))
