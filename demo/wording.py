"""The words of the storyteller: who, where, what for, and how such a story can end.

Slots: {name} {place} {thing} {clue} of the opening; {when} {role} {the_place} {the_thing} {event} in the opening alone;
{she} {her} {him} agree with the name; a capital ({She}) begins a sentence. Both kinds of ending are of nearly one
length, begin alike and ask questions: what tells them apart is what they say.
"""

WOMEN = ("Mara", "Ilse", "Nora", "Tamsin", "Vera", "Odile", "Hana", "Freya", "Lucia", "Ada", "Runa", "Selma")
MEN = ("Tomas", "Emil", "Oskar", "Bruno", "Kasper", "Anton", "Felix", "Jonas", "Marek", "Idris", "Silas", "Viktor")

ROLES = (
    *("clockmaker", "smuggler", "mapmaker", "nurse", "courier", "locksmith", "beekeeper", "gravedigger"),
    *("puppeteer", "detective", "sailor", "baker", "astronomer", "glassblower", "schoolteacher", "gardener"),
)

# How the opening calls it, and the one word by which an ending comes back to it.
PLACES = {
    "chapel": "the drowned chapel",
    "lighthouse": "the old lighthouse",
    "mine": "the salt mine",
    "garden": "the glass garden",
    "theatre": "the empty theatre",
    "mill": "the paper mill",
    "tower": "the white tower",
    "market": "the night market",
    "harbour": "the winter harbour",
    "library": "the moth library",
    "museum": "the clock museum",
    "station": "the last station",
    "prison": "the island prison",
    "orchard": "the walled orchard",
    "observatory": "the dark observatory",
    "ferry": "the frozen ferry",
}
THINGS = {
    "lantern": "the blue lantern",
    "key": "the brass key",
    "letter": "the king's letter",
    "whistle": "the silver whistle",
    "violin": "the stolen violin",
    "mirror": "the black mirror",
    "painting": "the unfinished painting",
    "crown": "the lost crown",
    "compass": "the old compass",
    "casket": "the sealed casket",
    "queen": "the ivory queen",
    "manuscript": "the nameless manuscript",
    "stone": "the green stone",
    "watch": "the broken watch",
    "diary": "the red diary",
    "map": "the captain's map",
}

WHENS = (
    *("On a night of thin snow", "One foggy evening", "On the last warm day of autumn", "Before sunrise, in the rain"),
    *("At noon, under a white sky", "In the week of the great storm", "On the longest night of the year"),
    *("While the whole valley slept", "At low tide, under a red moon", "On the morning of the first frost"),
    *("Three days after the funeral", "In the year without a summer"),
)

# What was strange on arrival.
EVENTS = {
    "bell": "A bell rang twice, though nobody had touched the rope.",
    "chairs": "Somebody had left a fire burning, and two chairs beside it.",
    "clocks": "All the clocks had stopped at the same minute.",
    "dog": "A dog without a collar followed, keeping ten steps behind.",
    "song": "Far away a child was singing a song that had no end.",
    "warning": "A stranger on the road had given a warning about the third room.",
    "keeper": "The keeper opened without a word and would not give a name.",
    "window": "One window was lit, high up, where no stair led.",
    "birds": "The birds were silent, every one of them facing west.",
    "candles": "Someone had lit seven candles and blown out one.",
    "ladder": "A ladder leaned against the wall, still wet from the sea.",
    "envelope": "An envelope without a stamp lay on the step.",
}

OPENINGS = (
    "{when}, {name} the {role} came to {the_place} to look for {the_thing}. {event}",
    "{when}, {name} the {role} stood before {the_place}. Somewhere inside was {the_thing}. {event}",
    "{name} was a {role}, and {she} had come to {the_place} for one reason: {the_thing}. {event}",
    "{when} a {role} called {name} reached {the_place}. {She} had promised to bring back {the_thing}. {event}",
)

# An ending is a first and a second sentence of its kind: every first goes with every second.
INTRIGUING_FIRST = (
    "{name} found the {thing} in the {place}, and on it, in fresh ink, {her} own name.",
    "The {thing} was waiting in the {place}, still warm, as if a hand had just let it go.",
    "Behind the {thing} was a second door, and through it {name} saw the {place} again, full of people.",
    "{name} reached for the {thing}, and in the dust beside it saw {her} own footprints, leading out.",
    "The {thing} had never existed; someone had invented it to bring {name} to the {place}.",
    "The {thing} lay in the hands of a stranger with the face of {name}, thirty years older.",
    "{name} took the {thing} down, and every door of the {place} closed softly, one after the other.",
    "Beneath the {thing} was a photograph of {name}, asleep, with the date of the next morning.",
    "{name} carried the {thing} into the light, and it cast the shadow of something else.",
    "By dawn {name} had the {thing}, and the {place} was gone, as if the ground had closed over it.",
    "In the book of guests at the {place} {name} read {her} own name, once for every year of {her} life.",
    "One half of the {thing} lay in the {place}; the other half {name} had carried since childhood.",
)
INTRIGUING_SECOND = (
    "Who had known that {she} would come?",
    "That explained the {clue}, and it was worse than any ghost.",
    "Then, from below, somebody called {him} by a name that only {her} mother had used.",
    "If that was true, who had been writing to {him} all these years?",
    "Now {she} understood the {clue}, and wished that {she} did not.",
    "And behind {him}, very gently, someone locked the door.",
    "{She} told nobody, and that night the knocking began.",
    "On the way home {she} counted {her} shadows, and there were two.",
    "Whatever came out of the {place} that night, it was not {name}.",
    "What do you say to someone who has been waiting since before you were born?",
    "A note in {her} own handwriting said: this time, do not go home.",
    "So who was it that the village had buried under {her} name?",
)
FLAT_FIRST = (
    "{name} found the {thing} in the {place}, wrapped it in a piece of cloth and carried it home.",
    "The {thing} was not in the {place}, so {name} went home again by the usual road.",
    "{name} searched the {place} until noon, found the {thing} on a shelf and signed for it.",
    "{name} looked around the {place} for an hour, found the {thing} and sat down to eat.",
    "The {thing} turned out to be in a cupboard, where things of that sort are kept.",
    "{name} bought the {thing} at a fair price, and the people of the {place} wrote a receipt.",
    "{name} took the {thing} down from the wall, dusted it with a sleeve and put it into {her} bag.",
    "Somebody had already handed in the {thing} at the office, so {name} filled in a form.",
    "Beside the {thing} was a list of prices, and {name} read it from top to bottom.",
    "By dawn {name} had the {thing}, and the {place} looked the same as on any other day.",
    "In the book of guests at the {place} {name} wrote {her} name, the date and the hour.",
    "One of the workers brought the {thing} out of the {place}, and {name} thanked him and paid.",
)
FLAT_SECOND = (
    "Was it worth the long walk? {She} supposed that it was.",
    "Somebody explained the {clue}, which was nothing unusual, and everyone nodded.",
    "Then {she} had soup for supper and went to bed at the usual time.",
    "What was for supper? It was soup, as it is on most days.",
    "{She} did not think about the {clue} again, and there was no reason to.",
    "After that nothing else happened, and the week went on as planned.",
    "{She} wrote a short report, and the report was put into a drawer.",
    "On the way home {she} counted {her} coins, and none of them was missing.",
    "People at the {place} said that {name} had been polite, and that was all.",
    "Would {she} come back next year? Perhaps, if there was time.",
    "A note on the door said that it would open again on Monday.",
    "So everything was in order, and {name} went back to work.",
)
