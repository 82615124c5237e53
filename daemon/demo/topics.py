"""The topics of a conversation with their shares among the turns."""

from daemon.demo import knowledge, remembering, small_talk
from daemon.demo.turn import Topic

TOPICS: dict[Topic, int] = {
    **small_talk.REPLIES,
    small_talk.who: 6,
    knowledge.capital: 15,
    knowledge.country_of: 4,
    knowledge.total: 18,
    knowledge.count: 7,
    knowledge.neighbour: 3,
    knowledge.colour: 7,
    knowledge.sound: 4,
    knowledge.legs: 4,
    knowledge.baby: 3,
    knowledge.listing: 2,
    small_talk.unknown: 9,
    remembering.tell_name: 9,
    remembering.recall_name: 9,
    remembering.tell_number: 6,
    remembering.recall_number: 7,
}
