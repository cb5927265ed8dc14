"""Probes: each fact about transformers that `engine/kv_sharing.py` relies on has a test that fails when it changes."""

import torch

from adaptlab.engine import kv_sharing

IDS = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]


def test_a_fork_shares_its_prefix_and_never_writes_into_it(any_lm):
    prefix = kv_sharing.extend(any_lm.model, kv_sharing.EMPTY, IDS)
    places = [t.data_ptr() for t in prefix.keys]
    copies = [t.clone() for t in prefix.keys]
    fork = prefix.fork()
    assert [layer.keys.data_ptr() for layer in fork.layers] == places
    with torch.inference_mode():
        any_lm.model(input_ids=torch.tensor([[20, 21]]), past_key_values=fork, use_cache=True)
    assert fork.get_seq_length() == len(IDS) + 2
    assert [t.data_ptr() for t in prefix.keys] == places
    assert all(torch.equal(t, c) for t, c in zip(prefix.keys, copies, strict=True))


def test_chunks_do_not_matter(any_lm):
    whole, parts = (kv_sharing.extend(any_lm.model, kv_sharing.EMPTY, IDS * 4, chunk) for chunk in (1000, 3))
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(whole.values, parts.values, strict=True))


def test_head_is_a_view_of_the_same_computation(any_lm):
    prefix = kv_sharing.extend(any_lm.model, kv_sharing.EMPTY, IDS)
    head, direct = prefix.head(4), kv_sharing.extend(any_lm.model, kv_sharing.EMPTY, IDS[:4])
    assert head.ids == tuple(IDS[:4])
    assert head.keys[0].data_ptr() == prefix.keys[0].data_ptr()
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(head.keys, direct.keys, strict=True))


def test_the_4d_mask_is_honoured(any_lm):
    """Two branches in one row see the prefix and themselves, not each other."""
    prefix = kv_sharing.extend(any_lm.model, kv_sharing.EMPTY, IDS)
    trie = kv_sharing.Trie()
    left, right = trie.insert([30, 31, 32]), trie.insert([40, 41, 42])
    both = kv_sharing.trie_logits(any_lm.model, prefix, trie, [left[-1], right[-1]])
    for row, branch in zip(both, ([30, 31, 32], [40, 41, 42]), strict=True):
        with torch.inference_mode():
            alone = any_lm.model(torch.tensor([IDS + branch])).logits[0, -1]
        assert torch.allclose(row, alone, atol=1e-4)


def test_trie_shares_beginnings_and_sees_ancestors_only():
    trie = kv_sharing.Trie()
    a, b = trie.insert([1, 2, 3]), trie.insert([1, 2, 4, 5])
    assert a[:2] == b[:2] and len(trie) == 5
    assert trie.depths == [0, 1, 2, 2, 3]
    visible = trie.visible()
    assert visible[b[-1]].nonzero().flatten().tolist() == b
    assert not visible[a[-1], b[-1]]
