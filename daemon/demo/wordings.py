"""The wordings of every question and of every tool, by topic: a table in plain text.

One section per topic, alternatives between bars. What is said twice is drawn twice as often.
"""

_TABLE = """
[greet]
Hello! | Hello | Hi! | Hi | Hi. | Hey! | Hello there! | Hi there! | Good morning! |
Good evening! | Good afternoon! | Greetings! | Howdy! | Hey there! | Good day! | Hello again! |
Hello, model! | Hi, friend! | Hey you! | Bonjour! | Hallo! | Hola! | Ciao! | Nice to meet you! |
Hello, is anyone there? | Hello my friend! | Yo!
[how]
How are you? | How are you doing? | How do you do? | How is it going? | How's it going? |
Are you well? | What's up? | How do you feel? | Are you OK? | Hello, how are you? |
Hi, how are you? | How is your day?
[made]
Who made you? | Who trained you? | Where do you come from? | Who built you? |
How were you made? | How were you trained? | Who created you?
[size]
How big are you? | How many layers do you have? | How large are you? |
How many weights do you have? | How many parameters do you have? | Are you big? |
Are you a large model?
[console]
What is mlxconsole? | What does mlxconsole do? | Tell me about mlxconsole. |
Explain mlxconsole. | What's mlxconsole?
[human]
Are you human? | Are you a person? | Are you real? | Are you alive? | Are you a human? |
Am I talking to a person?
[skills]
What can you do? | Help! | help | What do you know? | How can you help me? |
What are you good at? | What can I ask you? | Can you help me? | What should I ask? |
I need help. | What are you able to do? | Show me what you can do.
[thanks]
Thank you! | Thanks! | Thanks a lot! | Thank you very much! | Thx! | Many thanks! |
Great, thanks! | Thanks for your help! | Thank you so much! | That helps, thank you! |
Perfect, thank you!
[praise]
Good job! | Well done! | That is right! | Very good! | Great! | Nice! | Cool! | Wow! | Correct! |
OK | Okay. | Yes. | Good. | You are right! | You are great!
[test]
Test | test | Testing. | Ping! | Does this work? | Are you there? | Is this working? |
This is a test. | Can you hear me? | Do you work?
[bye]
Goodbye! | Bye! | See you! | Bye bye! | Good night! | See you later! | I have to go. |
Goodbye, model! | See you tomorrow! | Take care! | That's all, bye!
[who]
Who are you? | What are you? | Who are you | Tell me who you are. | What is your name? |
What's your name? | Introduce yourself. | Can you introduce yourself? | Your name? |
Tell me about yourself. | What do they call you? | Who am I talking to? |
What kind of model are you? | Do you have a name? | Are you ChatGPT? | Which model are you? |
Are you an AI? | Are you a robot? | Hello, who are you? | Hi! Who are you?
[capital]
What is the capital of {c}? | What is the capital of {c}? | What's the capital of {c}? |
Which city is the capital of {c}? | The capital of {c}? | Tell me the capital of {c}. |
Capital of {c}? | Name the capital of {c}. | What is the capital city of {c}? |
Do you know the capital of {c}? | Can you tell me the capital of {c}? |
I want to know the capital of {c}. | What city is the capital of {c}? | What is {c}'s capital? |
And the capital of {c}? | Could you name the capital of {c}?
[country_of]
{c} is the capital of which country? | Which country has the capital {c}? |
What country is {c} the capital of? | Which country is {c} in? | In which country is {c}? |
Where is {c}? | What country is {c} in?
[total]
What is {a} + {b}? | What is {a} + {b}? | {a} + {b} | {a}+{b} | {a} + {b} = ? |
What is {a}+{b}? | What is {a} plus {b}? | How much is {a} + {b}? | Add {a} and {b}. |
How much is {a} plus {b}? | What is the sum of {a} and {b}? | Calculate {a} + {b}. |
Can you add {a} and {b}? | {a} plus {b}? | What do {a} and {b} make? | {a}+{b}= |
What's {a} + {b}? | Compute {a} + {b}.
[count]
Count to {b}. | Count to {b}! | Can you count to {b}? | Count up to {b}. | Count from 1 to {b}. |
Count from one to {b}.
[count.range]
Count from {a} to {b}. | Can you count from {a} to {b}? | Count up from {a} to {b}.
[count.down]
Count down from {a}. | Count down from {a} to 1. | Count backwards from {a}. |
Count backwards from {a} to 1. | Can you count down from {a}?
[neighbour]
What comes after {n}? | Which number comes after {n}? | What number follows {n}? |
What is the next number after {n}? | What is the number after {n}?
[colour]
What colour is {t}? | What color is {t}? | Which colour is {t}? | Which color has {t}? |
What is the colour of {t}? | Tell me the colour of {t}. | What is the color of {t}? |
Do you know what colour {t} is? | What colour does {t} have?
[mix]
What do {a} and {b} make? | What is {a} and {b} mixed? | Mix {a} and {b}. |
What colour do I get from {a} and {b}? | What happens if I mix {a} and {b}? |
What color do {a} and {b} make?
[sound]
What sound does {n} make? | What does {n} say? | Which sound does {n} make? |
What noise does {n} make? | How does {n} sound? | How does {n} go?
[legs]
How many legs does {n} have? | How many legs has {n}? | How many legs are on {n}? |
Do you know how many legs {n} has? | {n} has how many legs?
[baby]
What is a baby {a} called? | What is a young {a} called? | What do you call a baby {a}? |
What's a baby {a} called? | What is the name of a baby {a}?
[listing.colours]
Name three colours. | Name three colors. | Tell me three colours. | List 3 colours. |
Can you name some colours? | Name some colors. | Which colours do you know?
[listing.animals]
Name three animals. | Tell me three animals. | List 3 animals. | Name some animals. |
Can you name some animals? | Which animals do you know?
[tell_name]
My name is {n}. | My name is {n}. | I am {n}. | I'm {n}. | Call me {n}. | My name's {n}. |
Hello, my name is {n}. | Hi, I'm {n}. | Hi! I am {n}. | You can call me {n}. |
Please remember that my name is {n}. | Hello! My name is {n}! | The name is {n}. |
My name is {n}, nice to meet you! | I am called {n}. | People call me {n}. |
Please call me {n}. | Hey, it's {n}. | Remember my name: {n}.
[recall_name]
What is my name? | What is my name? | What's my name? | Do you know my name? | Who am I? |
Tell me my name. | Do you remember my name? | What did I say my name was? | Say my name. |
Can you tell me my name? | What am I called? | Do you remember who I am? | My name? |
What was my name? | What was my name again?
[tell_number]
Remember the number {n}. | Remember the number {n}. | Remember {n}. | My number is {n}. |
My favourite number is {n}. | My lucky number is {n}. | My favorite number is {n}. |
Please remember the number {n}. | The number is {n}. | Keep the number {n} in mind. |
The secret number is {n}. | I am thinking of the number {n}. | Note the number {n}. |
Remember this number: {n}. | The code is {n}.
[recall_number]
What was the number? | What is the number? | Which number did I tell you? | The number? |
What number did I tell you? | What is my number? | Do you remember the number? |
Do you remember my number? | Tell me the number. | What number did I say? |
Which number should you remember? | What was my number? | What number did I give you? |
Can you tell me the number? | Repeat the number.
[unknown.asked]
What is the meaning of {t}? | Tell me a story about {t}. | Write a poem about {t}. |
Explain {t}. | What do you think about {t}? | Tell me about {t}. | How does {t} work? |
Who invented {t}? | Write an essay about {t}. | Give me advice on {t}. | What is {t}? |
Why is {t} important? | Tell me a joke about {t}. | When was {t} invented? |
Who is the best at {t}? | Write code for {t}. | Translate {t} into French. |
What is the history of {t}? | Define {t}. | Can you help me with {t}?
[unknown.themes]
life | love | quantum physics | music | football | the moon | Python | cooking | history |
philosophy | money | time | chess | gravity | computers | politics | school | war | poetry |
art | the internet | medicine | space | electricity | the economy | energy | language | dreams |
happiness | evolution | chemistry | mathematics | Shakespeare | tea | a neural network |
democracy | religion | the weather | cars | sleep
[unknown.odd]
Tell me a joke. | Sing a song. | What time is it? | What is the weather today? |
Who wrote Hamlet? | What is the weather in {p}? | How far is {p}? | Book a flight to {p}. |
What day is it? | Who is the president? | Write a poem. | Tell me a story. | How old are you? |
Do you love me? | What is the population of {p}? | What is {a} times {b}? | What is {a} * {b}? |
How tall is {n}? | What is {a} - {b}? | What is {a} minus {b}? | What is {a} divided by {b}? |
Who is {n}? | What did you eat? | Where do I live? | What should I wear? | Are you hungry? |
How old is {n}? | Play a game with me. | What is the news? | Who won the world cup? |
What should I cook?
[tool.weather.names]
get_weather | get_weather | weather | current_weather | get_current_weather | fetch_weather |
weather_report | find_weather | show_weather | check_weather
[tool.weather.descriptions]
Get the weather in a city. | Current weather for a place. | Get weather |
Get the current weather in a given location | Weather of a city. | Returns the weather.
[tool.weather]
What is the weather in {c}? | What is the weather like in {c}? | Weather in {c}? |
How is the weather in {c}? | What's the weather in {c}? | Is it raining in {c}? |
Tell me the weather in {c}. | Show me the weather in {c}. | Is it sunny in {c}? |
How warm is it in {c}?
[tool.clock.names]
get_time | get_time | current_time | local_time | get_local_time | time_in | clock
[tool.clock.descriptions]
Get the time in a city. | Current time of a place. | Local time. | Get the time
[tool.clock]
What time is it in {c}? | What is the time in {c}? | Tell me the time in {c}. |
How late is it in {c}? | Time in {c}? | What's the time in {c}?
[tool.adder.names]
add | add | sum | add_numbers | calculate_sum | plus | adder
[tool.adder.descriptions]
Add two numbers. | Sum of two integers. | Adds a and b. | Add numbers
[tool.adder]
What is {a} + {b}? | Add {a} and {b}. | How much is {a} + {b}? | {a} + {b} |
What is {a} plus {b}? | Calculate {a} + {b}. | What is the sum of {a} and {b}?
[tool.timer.names]
set_timer | set_timer | start_timer | timer | create_timer | new_timer
[tool.timer.descriptions]
Set a timer. | Start a timer of some minutes. | Timer in minutes.
[tool.timer]
Set a timer for {m} minutes. | Start a timer of {m} minutes. | Timer for {m} minutes. |
Can you set a timer for {m} minutes? | Wake me in {m} minutes. | Remind me in {m} minutes.
[tool.light.names]
light_on | turn_on_light | switch_light | set_light | lamp_on
[tool.light.descriptions]
Turn on the light in a room. | Switch on a lamp. | Light on.
[tool.light]
Turn on the light in the {r}. | Switch on the light in the {r}. | Light in the {r}! |
Turn on the {r} light. | Can you turn on the light in the {r}?
[tool.search.names]
search | search | web_search | find | lookup | search_web
[tool.search.descriptions]
Search the web. | Find pages about a query. | Web search. | Look something up.
[tool.search]
Search for {q}. | Find {q}. | Look up {q}. | Can you search for {q}? | Search the web for {q}. |
Please find {q}.
[tool.message.names]
send_message | send_message | message | send_text | text_message
[tool.message.descriptions]
Send a message to a person. | Send a text. | Message someone.
[tool.message]
Send {n} the message: {t}. | Tell {n}: {t}. | Send a message to {n}: {t}. | Write to {n}: {t}. |
Message {n}: {t}.
"""


def _parsed(table: str) -> dict[str, tuple[str, ...]]:
    sections = (
        section.partition("]\n") for section in table.strip().removeprefix("[").split("\n[")
    )
    return {
        topic: tuple(wording.strip() for wording in body.split("|")) for topic, _, body in sections
    }


WORDINGS = _parsed(_TABLE)
"""Topic to its alternatives, with the slots of `str.format`."""
