"""Two skills on pairs made here: a text to JSON by a schema, and a question to SQL.

Held-out pairs are made of names, cities, things, tables and columns that no training pair has.
"""

import json
import random
import sqlite3
from dataclasses import dataclass
from typing import Callable

FIRST = """Ada Ben Clara David Elena Felix Greta Hugo Irene Jonas Karin Leo Maria Nadia Oscar Paula Quentin Rosa Samuel Tessa
Ulrich Vera Walter Xenia Yusuf Zoe Amir Bianca Carlos Diana Emil Fatima Gustav Hannah Ivan Julia Kofi Laura Marco Nina Omar
Petra Rafael Sofia Tomas Ursula Victor Wanda Yara Anton Beatrice Cedric Dolores Edgar Flora George Helga Ingrid Jasper Kira
Lucas Mona Nathan Olga Pablo Ruth Stefan Tara Viktor Wilma Aisha Boris Celia Dmitri Esther Frank Gina Henrik Ida Jamal Kate""".split()
LAST = """Abbott Baker Castro Dubois Evans Fischer Garcia Hansen Ito Jensen Keller Lopez Moreau Novak Olsen Petrov Quinn Rossi
Schmidt Tanaka Umar Vogel Weber Xu Young Zhang Adams Bianchi Clark Diaz Eriksen Fontana Green Hoffman Ivanov Jones Kowalski
Lindgren Mendes Nguyen Okafor Park Ramos Silva Taylor Unger Varga Wright Yilmaz Zimmer Andersson Brown Cohen Duval Ellis
Ferrari Gupta Harris Ibrahim Jordan Khan Larsen Marino Nielsen Ortega Patel Reed Santos Turner Vidal Walsh Archer Bell Costa""".split()
CITIES = """Lyon Bremen Oslo Turin Porto Ghent Malmo Graz Basel Cork Leeds Bergen Seville Krakow Prague Riga Tallinn Athens Cairo
Tunis Lagos Accra Nairobi Mumbai Delhi Osaka Kyoto Seoul Hanoi Manila Sydney Perth Lima Quito Bogota Havana Boston Denver
Dallas Austin Seattle Chicago Toronto Montreal Vancouver Berlin Munich Vienna Zurich Geneva Milan Naples Madrid Lisbon Dublin""".split()
THINGS = """lamp|desk|chair|bicycle|kettle|notebook|backpack|mirror|clock|guitar|camera|blanket|teapot|hammer|drill|printer|monitor
keyboard|tent|rope|ladder|bucket|basket|pillow|carpet|mug|bowl|vase|candle|toaster|blender|scarf|jacket|sweater|wallet|umbrella
telescope|microscope|violin|drum|trumpet|helmet|skateboard|racket|football|puzzle|globe|easel|shovel|rake|lantern|compass|kite
fountain pen|coffee grinder|desk fan|garden hose|reading lamp|phone case|cutting board|picture frame|wool hat|tool box|rain coat""".replace("\n", "|").split("|")
COLOURS = "red blue green yellow black white silver purple orange brown pink grey".split()
JOBS = """nurse|teacher|baker|carpenter|pilot|farmer|lawyer|plumber|chemist|painter|librarian|welder|dentist|engineer|gardener|tailor
journalist|architect|translator|mechanic|surgeon|waiter|sailor|photographer|accountant|firefighter|potter|optician|electrician""".replace("\n", "|").split("|")
EVENTS = """concert|book fair|chess evening|yoga class|film night|flea market|choir practice|art exhibition|cooking course|poetry reading
science talk|football match|dance workshop|board game night|farmers market|photo walk|theatre play|charity run|open day|quiz night""".replace("\n", "|").split("|")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
HELD_OUT_SHARE = 4  # one of so many values of a list is for the held-out pairs alone


@dataclass
class Pair:
    question: str
    answer: str
    tables: str = ""  # of a question to SQL: the statements that make and fill its table


def half(values: list[str], held_out: bool) -> list[str]:
    return [value for i, value in enumerate(values) if (i % HELD_OUT_SHARE == 0) == held_out]


# --- text to JSON ---

def person(dice: random.Random, pick: Callable) -> tuple[dict, list[str]]:
    fields = {"name": f"{pick(FIRST)} {pick(LAST)}", "age": dice.randint(18, 90), "city": pick(CITIES), "job": pick(JOBS),
              "married": dice.random() < 0.5}
    name, age, city, job, married = fields.values()
    state = "married" if married else dice.choice(["not married", "single"])
    return fields, [
        f"{name} is {age} years old, lives in {city} and works as a {job}. {name.split()[0]} is {state}.",
        f"Our new neighbour is {name}, a {job} from {city}, aged {age} and {state}.",
        f"At {age}, {name} still works as a {job} in {city}, and is {state}.",
        f"Meet {name}: {job}, {age}, {state}, at home in {city}.",
        f"The {job} {name} ({age}) moved to {city} last year. {name.split()[0]} is {state}.",
    ]


def order(dice: random.Random, pick: Callable) -> tuple[dict, list[str]]:
    fields = {"customer": f"{pick(FIRST)} {pick(LAST)}", "item": pick(THINGS), "colour": dice.choice(COLOURS),
              "quantity": dice.randint(2, 40), "price": dice.randint(3, 400) + dice.choice([0.5, 0.25, 0.99, 0.75]),
              "paid": dice.random() < 0.5}
    customer, item, colour, quantity, price, paid = fields.values()
    state = "has been paid" if paid else dice.choice(["has not been paid", "is still unpaid"])
    return fields, [
        f"{customer} ordered {quantity} of the {colour} {item} at {price} euros each. The order {state}.",
        f"Please send {quantity} times the {item} in {colour} to {customer}. One costs {price} euros. The bill {state}.",
        f"New order: {item}, {colour}, {quantity} pieces, {price} euros a piece, for {customer}. It {state}.",
        f"We got an order from {customer}, who wants {quantity} of our {item} in {colour} for {price} euros each. It {state}.",
    ]


def event(dice: random.Random, pick: Callable) -> tuple[dict, list[str]]:
    fields = {"event": pick(EVENTS), "city": pick(CITIES), "day": dice.choice(DAYS), "guests": dice.randint(5, 300),
              "speakers": [pick(FIRST) for _ in range(dice.randint(1, 3))], "free": dice.random() < 0.5}
    what, city, day, guests, speakers, free = fields.values()
    price = "Entry is free." if free else dice.choice(["Tickets must be bought.", "Entry is not free."])
    names = speakers[0] if len(speakers) == 1 else f"{', '.join(speakers[:-1])} and {speakers[-1]}"
    return fields, [
        f"On {day} there is a {what} in {city} with {names}. About {guests} guests are expected. {price}",
        f"The {what} in {city} takes place on {day}. {names} will speak to {guests} guests. {price}",
        f"{guests} guests came to the {what} on {day} in {city}, where {names} spoke. {price}",
        f"{price} The {what} with {names} is on {day} in {city}, and has room for {guests} guests.",
    ]


def to_json(dice: random.Random, held_out: bool) -> Pair:
    pick = lambda values: dice.choice(half(values, held_out))
    fields, texts = dice.choice([person, order, event])(dice, pick)
    kept = dice.sample(list(fields), dice.randint(3, len(fields)))
    kinds = {str: "string", int: "integer", float: "number", bool: "boolean", list: "list of strings"}
    schema = ", ".join(f'"{name}": {kinds[type(fields[name])]}' for name in kept)
    asked = dice.choice(["Turn the text into JSON of this schema", "Write the text as JSON with the schema", "Extract JSON by this schema"])
    return Pair(f"{asked}: {{{schema}}}\nText: {dice.choice(texts)}", json.dumps({name: fields[name] for name in kept}))


def same_json(pair: Pair, answer: str) -> bool:
    try:
        return json.loads(answer) == json.loads(pair.answer)
    except ValueError:
        return False


# --- a question to SQL ---

# A table: its name, columns of text with their values, and columns of numbers.
TABLES = [
    ("books", {"title": THINGS, "author": LAST, "country": CITIES}, ["pages", "year", "price"]),
    ("employees", {"name": FIRST, "city": CITIES, "job": JOBS}, ["salary", "age"]),
    ("orders", {"customer": LAST, "item": THINGS, "colour": COLOURS}, ["amount", "total"]),
    ("concerts", {"artist": FIRST, "city": CITIES, "day": DAYS}, ["guests", "price"]),
    ("products", {"name": THINGS, "colour": COLOURS, "maker": LAST}, ["price", "stock", "weight"]),
    ("students", {"name": FIRST, "teacher": LAST, "city": CITIES}, ["grade", "age"]),
    ("flights", {"pilot": LAST, "origin": CITIES, "destination": CITIES}, ["distance", "seats"]),
    ("houses", {"owner": LAST, "city": CITIES, "colour": COLOURS}, ["rooms", "rent", "area"]),
    ("cars", {"driver": FIRST, "colour": COLOURS, "town": CITIES}, ["speed", "mileage"]),
    ("visits", {"patient": LAST, "doctor": LAST, "day": DAYS}, ["minutes", "fee"]),
    ("courses", {"subject": EVENTS, "teacher": FIRST, "day": DAYS}, ["places", "hours"]),
    ("shops", {"owner": FIRST, "town": CITIES, "sells": THINGS}, ["income", "staff"]),
]
HELD_OUT_TABLES = [
    ("paintings", {"painter": LAST, "museum": CITIES, "frame": COLOURS}, ["height", "width", "value"]),
    ("parcels", {"sender": FIRST, "contents": THINGS, "target": CITIES}, ["grams", "postage"]),
    ("players", {"surname": LAST, "team": CITIES, "trade": JOBS}, ["goals", "games"]),
    ("boats", {"captain": FIRST, "harbour": CITIES, "sail": COLOURS}, ["length", "cabins"]),
    ("meetings", {"host": FIRST, "topic": EVENTS, "weekday": DAYS}, ["people", "cost"]),
]


def to_sql(dice: random.Random, held_out: bool) -> Pair:
    table, texts, numbers = dice.choice(HELD_OUT_TABLES if held_out else TABLES)
    values = {column: half(of, held_out) if len(of) > 12 else of for column, of in texts.items()}
    text, other = dice.sample(list(texts), 2)
    number = dice.choice(numbers)
    value, edge = dice.choice(values[text]), dice.randint(10, 90)
    say, sign = dice.choice([("more than", ">"), ("less than", "<"), ("at least", ">="), ("at most", "<="), ("exactly", "=")])
    where, spoken = dice.choice([
        (f"{text} = '{value}'", f"whose {text} is {value}"),
        (f"{text} <> '{value}'", f"whose {text} is not {value}"),
        (f"{number} {sign} {edge}", f"whose {number} is {say} {edge}"),
        (f"{number} BETWEEN {edge - 8} AND {edge}", f"whose {number} is between {edge - 8} and {edge}"),
        (f"{text} = '{value}' AND {number} {sign} {edge}", f"whose {text} is {value} and whose {number} is {say} {edge}"),
    ])
    sum_, sum_said = dice.choice([("AVG", "average"), ("SUM", "total"), ("MAX", "highest"), ("MIN", "lowest")])
    n = dice.randint(2, 9)
    turn, turn_said = dice.choice([("DESC", "highest"), ("ASC", "lowest")])
    question, query = dice.choice([
        (f"Show all {table} {spoken}.", f"SELECT * FROM {table} WHERE {where}"),
        (f"What is the {other} of the {table} {spoken}?", f"SELECT {other} FROM {table} WHERE {where}"),
        (f"List {other} and {number} of {table} {spoken}.", f"SELECT {other}, {number} FROM {table} WHERE {where}"),
        (f"How many {table} are there {spoken}?", f"SELECT COUNT(*) FROM {table} WHERE {where}"),
        (f"Count the {table} {spoken}.", f"SELECT COUNT(*) FROM {table} WHERE {where}"),
        (f"What is the {sum_said} {number} of all {table}?", f"SELECT {sum_}({number}) FROM {table}"),
        (f"What is the {sum_said} {number} of the {table} {spoken}?", f"SELECT {sum_}({number}) FROM {table} WHERE {where}"),
        (f"What is the {sum_said} {number} for each {text}?", f"SELECT {text}, {sum_}({number}) FROM {table} GROUP BY {text}"),
        (f"How many {table} are there for each {text}?", f"SELECT {text}, COUNT(*) FROM {table} GROUP BY {text}"),
        (f"Which {n} {table} have the {turn_said} {number}?", f"SELECT * FROM {table} ORDER BY {number} {turn} LIMIT {n}"),
        (f"Show the {other} of the {n} {table} with the {turn_said} {number}.", f"SELECT {other} FROM {table} ORDER BY {number} {turn} LIMIT {n}"),
        (f"Which different values of {text} are there in {table}?", f"SELECT DISTINCT {text} FROM {table}"),
    ])
    columns = ", ".join([*texts, *numbers])
    made = [f"CREATE TABLE {table} ({', '.join([f'{c} TEXT' for c in texts] + [f'{c} INTEGER' for c in numbers])});"]
    few = {column: [*dice.sample(of, 4), *([value] if column == text else [])] for column, of in values.items()}
    for i in range(60):  # numbers of a column differ, so that an order by them is one
        row = [f"'{dice.choice(few[c])}'" for c in texts] + [str((37 * i + 11 * k) % 101) for k in range(len(numbers))]
        made.append(f"INSERT INTO {table} VALUES ({', '.join(row)});")
    return Pair(f"Table: {table}({columns})\nWrite the SQL query. {question}", query + ";", "\n".join(made))


def same_sql(pair: Pair, answer: str) -> bool:
    """Whether both queries give the same rows of a made table, in the same order if one is asked for."""
    base = sqlite3.connect(":memory:")
    base.executescript(pair.tables)
    left = [1000]  # a query without an end gets no more turns than these
    base.set_progress_handler(lambda: left.__setitem__(0, left[0] - 1) or left[0] < 0, 10_000)
    try:
        expected, got = (base.execute(query).fetchall() for query in (pair.answer, answer))
    except (sqlite3.Error, sqlite3.Warning, ValueError):
        return False
    return expected == got if "ORDER BY" in pair.answer else sorted(map(repr, expected)) == sorted(map(repr, got))


SKILLS = {"json": (to_json, same_json), "sql": (to_sql, same_sql)}


def pairs(name: str, n: int, held_out: bool) -> list[Pair]:
    """`n` different ones, always the same."""
    dice, made = random.Random(2 if held_out else 1), {}
    while len(made) < n:
        pair = SKILLS[name][0](dice, held_out)
        made.setdefault(pair.question, pair)
    return list(made.values())
