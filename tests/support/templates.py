"""Chat templates after the structure of the families in use, written for these tests, and a tokenizer for all of them.

What each family does that others do not stands in its comment.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.models import WORDS

MARKS = (
    "<s> </s> <pad> <bos> <eos> <|endoftext|> <|im_start|> <|im_end|> <|begin_of_text|> <|eot_id|> <|eom_id|> "
    "<|start_header_id|> <|end_header_id|> <start_of_turn> <end_of_turn> <|system|> <|user|> <|assistant|> <|end|> "
    "<|im_sep|> <|start|> <|message|> <|channel|> <|return|> <|call|> [INST] [/INST] [TOOL_CALLS] [AVAILABLE_TOOLS] "
    "[/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] <BOT> <EOT> <U> <A> <S> <EOP>"
).split()
# Added, but not special.
WRITTEN = ["<think>", "</think>", "<tool_call>", "</tool_call>"]

# Any role, and a system prompt of its own where the first message has none.
SMOLLM2 = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help, by the name of Smol.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CALLS = (
    "{%- for c in m.tool_calls %}{%- set f = c.function if c.function is defined else c %}"
    '{{- \'\n<tool_call>\n{"name": "\' + f.name + \'", "arguments": \' }}{{- f.arguments | tojson }}'
    "{{- '}\n</tool_call>' }}{%- endfor %}"
)
_TOOLS = (
    "{%- if tools %}{{- '<|im_start|>system\n' }}{%- if messages[0].role == 'system' %}"
    "{{- messages[0].content + '\n\n' }}{%- endif %}{{- '<tools>' }}{%- for t in tools %}{{- '\n' + (t | tojson) }}"
    "{%- endfor %}{{- '\n</tools><|im_end|>\n' }}{%- elif messages[0].role == 'system' %}"
    "{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}"
)
_RESULT = (
    "{%- elif m.role == 'tool' %}{{- '<|im_start|>user\n<tool_response>\n' + m.content + "
    "'\n</tool_response><|im_end|>\n' }}"
)
# A branch for each role that it knows: no developer.
QWEN25 = (
    _TOOLS + "{%- else %}{{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{%- endif %}"
    "{%- for m in messages %}{%- if m.role == 'user' or (m.role == 'system' and not loop.first) or "
    "(m.role == 'assistant' and not m.tool_calls) %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{%- elif m.role == 'assistant' %}{{- '<|im_start|>assistant' }}{%- if m.content %}{{- '\n' + m.content }}"
    "{%- endif %}" + _CALLS + "{{- '<|im_end|>\n' }}" + _RESULT + "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
# The last turn has a block of reasoning, an empty one too; earlier turns lose theirs.
_THINKING = (
    _TOOLS + "{%- endif %}{%- set ns = namespace(asked=0) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.asked = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}"
    "{%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}"
    "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- elif m.role == 'assistant' %}"
    "{%- set content = m.content %}{%- set thought = '' %}{%- if m.reasoning_content is string %}"
    "{%- set thought = m.reasoning_content %}{%- elif '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].split('<think>')[-1] %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.asked and (loop.last or thought) %}"
    "{{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}"
    "{%- else %}{{- '<|im_start|>assistant\n' + content }}{%- endif %}"
    "{%- if m.tool_calls %}" + _CALLS + "{%- endif %}{{- '<|im_end|>\n' }}" + _RESULT + "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
)
QWEN3 = _THINKING + (
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
# Always reasons: the generation prompt opens the block.
QWEN3_THINKING = _THINKING + "{{- '<think>\n' }}{%- endif %}"
# The same, and what was thought is cut off every answer, the last one too.
R1_DISTILL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<U>' + m['content'] }}"
    "{% elif m['role'] == 'assistant' and not m.get('tool_calls') %}"
    "{{ '<A>' + m['content'].split('</think>')[-1].lstrip() + eos_token }}{% elif m['role'] == 'assistant' %}"
    "{% for c in m['tool_calls'] %}{{ '<A>call ' + c['function']['name'] + '\n' + c['function']['arguments'] }}"
    "{% endfor %}{{ eos_token }}{% elif m['role'] == 'tool' %}{{ '<S>' + m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<A><think>\n' }}{% endif %}"
)
# The system message goes into the first user turn; roles alternate; no tools.
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set talk = messages[1:] %}{% set sys = messages[0]['content'] %}"
    "{% else %}{% set talk = messages %}{% set sys = false %}{% endif %}{% for m in talk %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and sys != false %}{% set text = '<<SYS>>\n' + sys + '\n<</SYS>>\n\n' + m['content'] %}"
    "{% else %}{% set text = m['content'] %}{% endif %}{% if m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
# Trims; a date of fixed text; one call a turn, whose content it does not show.
_LLAMA3 = (
    "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set sys = messages[0]['content'] | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set sys = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\nToday: ' + date_string + '\n\n' }}"
    "{%- for t in tools or [] %}{{- (t | tojson) + '\n\n' }}{%- endfor %}{{- sys + '<|eot_id|>' }}"
    "{%- for m in messages %}{%- if not (m.role == 'ipython' or m.role == 'tool' or 'tool_calls' in m) %}"
    "{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{%- elif 'tool_calls' in m %}{%- if m.tool_calls | length != 1 %}{{- raise_exception('One call a turn') }}"
    "{%- endif %}{%- set f = m.tool_calls[0].function %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{{- '{\"name\": \"' + f.name + '\", \"parameters\": ' }}{{- f.arguments | tojson }}{{- '}<|eot_id|>' }}"
    "{%- else %}{{- '<|start_header_id|>ipython<|end_header_id|>\n\n' + (m.content | tojson) + '<|eot_id|>' }}"
    "{%- endif %}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
LLAMA31 = "{%- if not date_string is defined %}{%- set date_string = '26 Jul 2024' %}{%- endif %}" + _LLAMA3
LLAMA32 = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}" + _LLAMA3
)
# Ids of nine letters; the system message stands in the last message where that is the user's, and else nowhere.
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set sys = messages[0]['content'] %}{%- set talk = messages[1:] %}"
    "{%- else %}{%- set talk = messages %}{%- endif %}"
    "{%- set users = talk | selectattr('role', 'equalto', 'user') | list %}"
    "{%- set ns = namespace(n=0) %}{%- for m in talk %}"
    "{%- if not (m.role == 'tool' or (m.tool_calls is defined and m.tool_calls is not none)) %}"
    "{%- if (m.role == 'user') != (ns.n % 2 == 0) %}{{- raise_exception('Roles must alternate user and assistant') }}"
    "{%- endif %}{%- set ns.n = ns.n + 1 %}{%- endif %}{%- endfor %}{{- bos_token }}{%- for m in talk %}"
    "{%- if m.role == 'user' %}{%- if tools is not none and m == users[-1] %}{{- '[AVAILABLE_TOOLS]' }}"
    "{{- tools | tojson }}{{- '[/AVAILABLE_TOOLS]' }}{%- endif %}{%- if loop.last and sys is defined %}"
    "{{- '[INST]' + sys + '\n\n' + m.content + '[/INST]' }}{%- else %}{{- '[INST]' + m.content + '[/INST]' }}"
    "{%- endif %}{%- elif m.tool_calls is defined and m.tool_calls is not none %}{{- '[TOOL_CALLS][' }}"
    "{%- for c in m.tool_calls %}{{- (c.function | tojson)[:-1] }}"
    "{%- if not c.id is defined or c.id | length != 9 %}"
    "{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}"
    "{{- ', \"id\": \"' + c.id + '\"}' }}{{- ', ' if not loop.last }}{%- endfor %}{{- ']' + eos_token }}"
    "{%- elif m.role == 'assistant' %}{{- m.content + eos_token }}{%- elif m.role == 'tool' %}"
    "{%- if not m.tool_call_id is defined or m.tool_call_id | length != 9 %}"
    "{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}"
    '{{- \'[TOOL_RESULTS]{"content": \' + (m.content | tojson) + \', "call_id": "\' + m.tool_call_id + '
    "'\"}[/TOOL_RESULTS]' }}{%- endif %}{%- endfor %}"
)
# No system message at all.
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# The system message stands before the first user turn's text.
GEMMA3 = (
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\n\n' -%}"
    "{%- set talk = messages[1:] -%}{%- else -%}{%- set first = '' -%}{%- set talk = messages -%}{%- endif -%}"
    "{%- for m in talk -%}{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{%- endif -%}"
    "{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') + m['content'] | trim + '<end_of_turn>\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
# No branch for system; another token behind the end of turn.
PHI3_FIRST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<|user|>\n' + m['content'] + '<|end|>\n<|assistant|>\n' }}{% elif m['role'] == 'assistant' %}"
    "{{ m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}{% if m['role'] in ['system', 'user', 'assistant'] %}"
    "{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4 = (
    "{% for m in messages %}{% if m['role'] in ['system', 'user', 'assistant'] %}"
    "{{ '<|im_start|>' + m['role'] + '<|im_sep|>' + m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
# Channels; the last answer ends otherwise than earlier ones; a developer, and a clock.
HARMONY = (
    "{{- '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}"
    "{%- if messages[0].role in ['developer', 'system'] %}{%- set dev = messages[0].content %}"
    "{%- set talk = messages[1:] %}{%- else %}{%- set dev = '' %}{%- set talk = messages %}{%- endif %}"
    "{%- if dev or tools %}{{- '<|start|>developer<|message|>' + dev }}{%- if tools %}{%- for t in tools %}"
    "{{- '\n' + t.function.name + ': ' + (t.function.parameters | tojson) }}{%- endfor %}{%- endif %}{{- '<|end|>' }}"
    "{%- endif %}{%- set ns = namespace(called='') %}{%- for m in talk %}{%- if m.role == 'assistant' %}"
    "{%- if m.tool_calls %}{%- set f = m.tool_calls[0].function %}{%- set ns.called = f.name %}{%- if m.thinking %}"
    "{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{%- endif %}"
    "{{- '<|start|>assistant to=' + f.name + '<|channel|>commentary json<|message|>' }}"
    "{{- f.arguments | tojson }}{{- '<|call|>' }}{%- elif loop.last and not add_generation_prompt %}"
    "{%- if m.thinking %}{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{%- endif %}"
    "{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}{%- else %}"
    "{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{%- endif %}"
    "{%- elif m.role == 'tool' %}{{- '<|start|>' + ns.called + ' to=assistant<|channel|>commentary<|message|>' }}"
    "{{- m.content | tojson }}{{- '<|end|>' }}{%- elif m.role == 'user' %}"
    "{{- '<|start|>user<|message|>' + m.content + '<|end|>' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"
)
# A mode in the system prompt, which tells the day as well.
SMOLLM3 = (
    "{%- if enable_thinking is not defined %}{%- set enable_thinking = true %}{%- endif %}"
    "{%- set mode = '/think' if enable_thinking else '/no_think' %}"
    "{{- '<|im_start|>system\nToday Date: ' + strftime_now('%d %B %Y') + '\nReasoning Mode: ' + mode + '\n\n' }}"
    "{%- if messages[0].role == 'system' %}{{- messages[0].content.replace('/no_think', '').rstrip() + '\n\n' }}"
    "{%- endif %}{%- if tools %}{%- for t in tools %}{{- (t | string) + '\n' }}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- for m in messages %}{%- set content = m.content if m.content is string else '' %}"
    "{%- if m.role == 'user' %}{{- '<|im_start|>user\n' + content + '<|im_end|>\n' }}{%- elif m.role == 'assistant' %}"
    "{%- if mode == '/think' %}{{- '<|im_start|>assistant\n' + content.lstrip('\n') + '<|im_end|>\n' }}{%- else %}"
    "{{- '<|im_start|>assistant\n<think>\n\n</think>\n' + content.lstrip('\n') + '<|im_end|>\n' }}{%- endif %}"
    "{%- elif m.role == 'tool' %}{{- '<|im_start|>user\n' + content + '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{%- if mode == '/think' %}{{- '<|im_start|>assistant\n' }}{%- else %}"
    "{{- '<|im_start|>assistant\n<think>\n\n</think>\n' }}{%- endif %}{%- endif %}"
)
# Arguments as text, joined by `+`; any instruction anywhere, at the top.
DEEPSEEK = (
    "{{ bos_token }}{%- for m in messages %}{%- if m.role == 'system' %}{{ m.content }}{%- endif %}{%- endfor %}"
    "{%- if tools %}{{ tools | tojson }}{%- endif %}"
    "{%- for m in messages %}{%- if m.role == 'user' %}{{ '<U>' + m.content }}{%- elif m.role == 'assistant' %}"
    "{{ '<A>' + m.content }}{%- for c in m.tool_calls or [] %}"
    "{{ '\ncall ' + c.function.name + '\n```json\n' + c.function.arguments + '\n```' }}{%- endfor %}{{ eos_token }}"
    "{%- elif m.role == 'tool' %}{{ '<S>' + m.content }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<A>' }}{%- endif %}"
)
# Turns of named tokens; arguments written by `~`, which would give Python's way of writing an object.
COMMAND = (
    "{{ bos_token }}{%- for t in tools or [] %}{{ t.function.name ~ (t.function.parameters | tojson) }}{%- endfor %}"
    "{%- for m in messages %}{%- if m.role == 'system' %}{{ '<S>' ~ m.content ~ '<EOP>' }}"
    "{%- elif m.role == 'user' %}{{ '<U>' ~ m.content ~ '<EOP>' }}{%- elif m.role == 'assistant' %}"
    "{{ '<BOT>' ~ m.content }}{%- for c in m.tool_calls or [] %}"
    "{{ 'Action: ' ~ c.function.name ~ c.function.arguments }}{%- endfor %}{{ '<EOP>' }}"
    "{%- elif m.role == 'tool' %}{{ '<S>' ~ m.content ~ '<EOP>' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<BOT>' }}{%- endif %}"
)
# The arguments of a call one by one: only an object has them.
# What jinja2 parses, or Python compiles, only so deep: a RecursionError, a SyntaxError, an IndentationError.
TOO_DEEP = {
    "parentheses": f"{{{{ {'(' * 300}1{')' * 300} }}}}",
    "loops": "{% for m in messages %}" * 25 + "{% endfor %}" * 25,
    "conditions": "{% if messages %}" * 120 + "{% endif %}" * 120,
    "lists": f"{{{{ {'[' * 300}{']' * 300} }}}}",
    "sums": f"{{{{ {' + '.join(['messages'] * 3000)} }}}}",
}
CODER = QWEN25.replace(
    "{{- f.arguments | tojson }}",
    "{%- for k, v in f.arguments | items %}{{- k + '=' + (v | string) + ';' }}{%- endfor %}",
)


@cache
def trained() -> str:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator((" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))), trainer)
    inner.add_tokens([AddedToken(each, normalized=False) for each in WRITTEN])
    return inner.to_str()


def tokenizer_of(template: str | None, *, eos: str, bos: str = "<s>") -> Any:
    """Byte-level, with all families' marks as special tokens; `<think>` and the like are tokens, but not special."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(trained()), bos_token=bos, eos_token=eos, clean_up_tokenization_spaces=False
    )
    made.chat_template = template
    return made


def folder_of(folder: Path, template: str | None, *, eos: str, stops: list[int] | None = None) -> Path:
    """What an inspection reads of a model: no weights. `stops`: as generation_config.json has them; None: the eos."""
    tokenizer = tokenizer_of(template, eos=eos)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    size = {"vocab_size": len(tokenizer), "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096, **size}
    (folder / "config.json").write_text(json.dumps(config))
    ends = [tokenizer.eos_token_id] if stops is None else stops
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return folder
