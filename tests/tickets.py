"""Support tickets made up by rules: a small data set as a company would have it.

    python tests/tickets.py tickets.csv --rows 400 --seed 0

Eight classes; some tickets name what they are about in words that others of their
class never use, so that whole classes cannot be learnt from a few words.
"""

import argparse
import csv
import pathlib

import numpy as np

# Class -> what is wrong, as different people say it.
PROBLEMS = {
    "Access": [
        *("I cannot log in", "my password is rejected", "the sign-in page loops"),
        *("two-factor codes never arrive", "my account is locked"),
        *("I am locked out since this morning", "the reset link has expired"),
    ],
    "Billing": [
        *("I was charged twice", "the invoice shows the wrong amount"),
        *("please refund the last payment", "my card was debited again"),
        *("the VAT on the bill is missing", "you took money after I cancelled"),
    ],
    "Delivery": [
        *("the parcel has not arrived", "tracking has not moved for days"),
        *("the courier left it with a neighbour", "my order came to an old address"),
        *("half of the shipment is missing", "the box was handed to somebody else"),
    ],
    "Defect": [
        *("the screen stays black", "it makes a grinding noise"),
        *("the battery is empty after an hour", "one of the buttons is stuck"),
        *("it smells burnt when it is on", "the hinge broke on the second day"),
    ],
    "Returns": [
        *("I want to send it back", "how do I get a return label"),
        *("it does not fit and should be exchanged", "I changed my mind"),
        *("can I swap it for the larger one", "whom do I hand the goods back to"),
    ],
    "Software": [
        *("the app crashes on start", "the update hangs at 80 percent"),
        *("exporting gives an empty file", "the page shows an error after saving"),
        *("sync stopped working since the new version", "the menu freezes"),
    ],
    "Sales": [
        *("do you give a discount for schools", "which model fits a small office"),
        *("is the blue one still on offer", "what would fifty licences cost"),
        *("when will the new series be in stock", "can I have a quote"),
    ],
    "Contract": [
        *("I want to cancel my subscription", "please change the plan to yearly"),
        *("my company has a new name", "move the agreement to my colleague"),
        *("when does the notice period end", "I would like to pause my membership"),
    ],
}
_OPENINGS = ["Hello,", "Hi there,", "Good morning,", "Dear team,", "Hey,", ""]
_BEFORE = ["", "As I wrote last week,", "Since Monday", "Once more:", "To be short:"]
_AFTER = [
    *("Please help.", "Thank you.", "This is urgent for us.", "What shall I do now?"),
    *("I have tried everything on your page.", "I am waiting for an answer."),
    *("My customer number is {number}.", "Order {number}.", "Regards, {name}", ""),
]
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
        problem = str(rng.choice(PROBLEMS[label]))
        end = str(rng.choice(_AFTER)).format(
            number=rng.integers(10_000, 99_999), name=rng.choice(_NAMES)
        )
        sentence = f"{rng.choice(_BEFORE)} {problem}".strip()
        sentence = sentence[0].upper() + sentence[1:] + "."
        parts = (str(rng.choice(_OPENINGS)), sentence, end)
        found.append((" ".join(part for part in parts if part), label))
    return found


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
