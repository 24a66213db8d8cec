"""Support tickets made up by rules: a small data set as a company would have it.

    python tests/tickets.py tickets.csv --rows 400 --seed 0

Eight classes. Some tickets say, besides what is the matter, what is not, in the words
of another class: to count words is not enough.
"""

import argparse
import csv
import pathlib

import numpy as np

# Class -> what a ticket is about, and what is the matter with it.
PROBLEMS = {
    "Access": (
        *("my password", "the login", "the sign-in page", "my account", "the passcode"),
        *("two-factor", "the reset link", "my user name", "the one-time code"),
        (
            *("is rejected", "has expired", "is locked", "is not recognised"),
            *("says wrong credentials", "does not let me in"),
        ),
    ),
    "Billing": (
        *("the invoice", "my credit card", "the last payment", "the direct debit"),
        *("the VAT", "my refund", "the receipt", "the bank transfer", "the amount due"),
        (
            *("was charged twice", "is too high", "does not add up"),
            *("was debited after I paid", "is missing money", "shows the wrong sum"),
        ),
    ),
    "Delivery": (
        *("the parcel", "my package", "the shipment", "the courier", "the box"),
        *("the pallet", "the envelope", "the postman", "my consignment", "the van"),
        (
            *("has not arrived", "went to a neighbour", "is lost on the way"),
            *("came to an old address", "is days late", "never came to the door"),
        ),
    ),
    "Defect": (
        *("the screen", "the battery", "the hinge", "one of the buttons", "the fan"),
        *("the motor", "the lid", "the power cord", "the loudspeaker", "the handle"),
        (
            *("broke on the second day", "makes a grinding noise", "smells burnt"),
            *("is cracked", "got very hot", "came off"),
        ),
    ),
    "Returns": (
        *(
            "the shoes",
            "the jacket",
            "this lamp",
            "the chair",
            "my purchase",
            "the gift",
        ),
        *("the second pair", "the blue one", "the larger size", "the unopened set"),
        (
            *("should go back to you", "does not fit, I want to swap it"),
            *("is to be exchanged", "needs a return label", "is not what I wanted"),
            "can be collected, I changed my mind",
        ),
    ),
    "Software": (
        *("the app", "the update", "the export", "the new version", "the menu"),
        *("the sync", "the installer", "your web page", "the plug-in", "the dashboard"),
        (
            *("crashes on start", "hangs at 80 percent", "shows an error message"),
            *("freezes after saving", "gives an empty file", "is very slow"),
        ),
    ),
    "Sales": (
        *("a quote", "fifty licences", "the price list", "the school discount"),
        *("a demo", "the new series", "your catalogue", "a bulk order", "the offer"),
        (
            *("would interest us", "is what we think of buying"),
            *("would help us to choose", "is still to be had?"),
            *("would suit a small office?", "comes at which price?"),
        ),
    ),
    "Contract": (
        *("my subscription", "the yearly plan", "our agreement", "the membership"),
        *("the notice period", "my tariff", "the renewal", "the terms", "our account"),
        (
            *("should be cancelled", "ends when?", "must go to my colleague"),
            *("is to be paused", "has our old company name"),
            "should not be extended",
        ),
    ),
}
_OPENINGS = ["Hello,", "Hi there,", "Good morning,", "Dear team,", "Hey,", ""]
_BEFORE = ["", "As I wrote last week,", "Since Monday", "Once more:", "To be short:"]
_AFTER = [
    *("Please help.", "Thank you.", "This is urgent for us.", "What shall I do now?"),
    *("I have tried everything on your page.", "I am waiting for an answer."),
    *("My customer number is {number}.", "Order {number}.", "Regards, {name}", ""),
]
_DENIED = 0.4  # of the tickets say what is not the matter, in another class's words
_NAMES = ["Kim", "Jürgen", "Zoë", "Amélie", "Sam", "Łukasz", "Noor", "Björn"]


def tickets(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """Makes tickets.

    Args:
      number: of tickets; the classes are of about the same size.
      seed: the same one makes the same tickets.

    Returns:
      (text, class) of each.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        label = str(rng.choice(list(PROBLEMS)))
        problem = _problem(rng, label)
        end = str(rng.choice(_AFTER)).format(
            number=rng.integers(10_000, 99_999), name=rng.choice(_NAMES)
        )
        sentence = f"{rng.choice(_BEFORE)} {problem}".strip()
        sentence = (sentence[0].upper() + sentence[1:] + ".").replace("?.", "?")
        parts = [str(rng.choice(_OPENINGS)), sentence, end]
        if rng.random() < _DENIED:
            other = str(rng.choice([name for name in PROBLEMS if name != label]))
            denied = f"It is not that {_problem(rng, other)}."
            parts.insert(int(rng.integers(1, 3)), denied)
        found.append((" ".join(part for part in parts if part), label))
    return found


def _problem(rng, label):
    *things, matters = PROBLEMS[label]
    return f"{rng.choice(things)} {rng.choice(matters)}"


def write(
    path: pathlib.Path,
    rows: list[tuple[str, str]],
    header: tuple[str, str] = ("text", "label"),
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> str:
    """Writes tickets as a csv; returns its path."""
    with open(path, "w", encoding=encoding, errors="replace", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([header, *rows])
    return str(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.file, tickets(arguments.rows, arguments.seed))
