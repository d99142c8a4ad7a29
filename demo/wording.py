"""The words of the storyteller: who, where, what for, and how such a story can end.

Slots: {name} {role} {place} {thing} {clue} of the opening, {when} {event} in the opening alone; {she} {her} {him} agree
with the name; a capital ({Thing}, {She}) begins a sentence. Both kinds of ending are of one length and share their
first words and their question marks, so that what tells them apart is the meaning and not the surface.
"""

WOMEN = ("Mara", "Ilse", "Nora", "Tamsin", "Vera", "Odile", "Hana", "Freya", "Lucia", "Ada", "Runa", "Selma")
MEN = ("Tomas", "Emil", "Oskar", "Bruno", "Kasper", "Anton", "Felix", "Jonas", "Marek", "Idris", "Silas", "Viktor")

ROLES = (
    *("clockmaker", "smuggler", "mapmaker", "nurse", "courier", "locksmith", "beekeeper", "gravedigger"),
    *("violinist", "detective", "sailor", "baker", "astronomer", "glassblower", "schoolteacher", "gardener"),
)

PLACES = (
    *("the drowned chapel", "the old lighthouse", "the salt mine", "the glass garden", "the empty theatre"),
    *("the paper mill", "the bell tower", "the night market", "the winter harbour", "the moth library"),
    *("the clock museum", "the last station", "the island prison", "the walled orchard", "the observatory"),
    "the ferry house",
)

THINGS = (
    *("the blue lantern", "the brass key", "the king's letter", "the ninth bell", "the stolen violin"),
    *("the black mirror", "the unfinished painting", "the lost crown", "the old compass", "the sealed box"),
    *("the ivory queen", "the book without an author", "the green stone", "the broken watch", "the red diary"),
    "the captain's map",
)

WHENS = (
    *("On a night of thin snow", "One foggy evening", "On the last warm day of autumn", "Before sunrise, in the rain"),
    *("At noon, under a white sky", "In the week of the great storm", "On the longest night of the year"),
    *("While the whole valley slept", "At low tide, under a red moon", "On the morning of the first frost"),
    *("Three days after the funeral", "In the year without a summer"),
)

# What was strange on arrival, and the words by which an ending can come back to it.
EVENTS = {
    "the bell": "A bell rang twice, though nobody had touched the rope.",
    "the two chairs": "Somebody had left a fire burning, and two chairs beside it.",
    "the stopped clocks": "All the clocks had stopped at the same minute.",
    "the dog": "A dog without a collar followed, keeping ten steps behind.",
    "the open door": "The door stood open, but the dust inside was untouched.",
    "the song": "Far away a child was singing a song that had no end.",
    "the warning": "A stranger on the road had given a warning about the third room.",
    "the silent keeper": "The keeper opened without a word and would not give a name.",
    "the lit window": "One window was lit, high up, where no stair led.",
    "the birds": "The birds were silent, every one of them facing west.",
    "the clean floor": "Someone had swept the floor that same morning.",
    "the wet letter": "A letter without a stamp lay on the step, still wet.",
}

OPENINGS = (
    "{when}, {name} the {role} came to {place} to look for {thing}. {event}",
    "{when}, {name} the {role} stood before {place}. Somewhere inside was {thing}. {event}",
    "{name} was a {role}, and {she} had come to {place} for one reason: {thing}. {event}",
    "{when} a {role} called {name} reached {place}. {She} had promised to bring back {thing}. {event}",
)

# An ending is a first and a second sentence of its kind: every first goes with every second.
INTRIGUING_FIRST = (
    "{name} found {thing} in {place}, and on it, in fresh ink, {her} own name.",
    "{Thing} was waiting in {place}, still warm, as if a hand had just let it go.",
    "Behind {thing} was a second door, and through it {name} saw {place} again, full of people.",
    "{name} reached for {thing}, and in the dust beside it saw {her} own footprints, leading out.",
    "{Thing} had never existed; someone had invented it to bring {name} to {place}.",
    "{Thing} lay in the hands of a stranger with the face of {name}, thirty years older.",
    "{name} took {thing} down, and every door of {place} closed softly, one after the other.",
    "Beneath {thing} was a photograph of {name}, asleep, with the date of the next morning.",
    "{name} carried {thing} into the light, and it cast the shadow of something else.",
    "By dawn {name} had {thing}, and {place} was gone, as if the ground had closed over it.",
    "In the book of guests at {place} {name} read {her} own name, once for every year of {her} life.",
    "One half of {thing} lay in {place}; the other half {name} had carried since childhood.",
)
INTRIGUING_SECOND = (
    "Who had known that {she} would come?",
    "That explained {clue}, and it was worse than any ghost.",
    "Then, from below, somebody called {him} by a name that only {her} mother had used.",
    "If that was true, who had been writing to {him} all these years?",
    "Now {she} understood {clue}, and wished that {she} did not.",
    "And behind {him}, very gently, someone turned the key.",
    "{She} told nobody, and that night the knocking began.",
    "On the way home {she} counted {her} shadows, and there were two.",
    "Whatever came out of {place} that night, it was not {name}.",
    "What do you say to someone who has been waiting since before you were born?",
    "A note in {her} own handwriting said: this time, do not go home.",
    "So who was it that the village had buried under {her} name?",
)
FLAT_FIRST = (
    "{name} found {thing} in {place}, wrapped it in a cloth and carried it home.",
    "{Thing} was not in {place}, so {name} went home again by the usual road.",
    "{name} searched {place} until noon, found {thing} on a shelf and signed for it.",
    "{name} looked around {place} for an hour, found {thing} and sat down to eat.",
    "{Thing} turned out to be in a cupboard, where things of that sort are kept.",
    "{name} bought {thing} at a fair price, and the people of {place} wrote a receipt.",
    "{name} took {thing} down from the wall, dusted it and put it into {her} bag.",
    "Somebody had already handed in {thing} at the office, so {name} filled in a form.",
    "Beside {thing} was a list of prices, and {name} read it from top to bottom.",
    "By dawn {name} had {thing}, and {place} looked the same as on any other day.",
    "In the book of guests at {place} {name} wrote {her} name, the date and the hour.",
    "One of the workers brought {thing} out of {place}, and {name} thanked him and paid.",
)
FLAT_SECOND = (
    "Was it worth the long walk? {She} supposed that it was.",
    "Somebody explained {clue}, which was nothing unusual, and everyone nodded.",
    "Then {she} had soup for supper and went to bed at the usual time.",
    "What was for supper? It was soup, as it is on most days.",
    "{She} did not think about {clue} again, and there was no reason to.",
    "After that nothing else happened, and the week went on as planned.",
    "{She} wrote a short report, and the report was put into a drawer.",
    "On the way home {she} counted {her} coins, and none of them was missing.",
    "People at {place} said that {name} had been polite, and that was all.",
    "Would {she} come back next year? Perhaps, if there was time.",
    "A note on the door said that it would open again on Monday.",
    "So everything was in order, and {name} went back to work.",
)
