"""Which texts are cells: automata over the tokens of a language model, one for each column.

An automaton accepts exactly the texts of a column's cells, each along one path only: what the
model gives to the tokens that are allowed at each state, normalised there, is a probability of
cells. All methods work on many cells at once; a cell is a whole number, its code.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["STATE", "Automaton", "ClockGrammar", "DigitGrammar", "Trie"]

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

STATE = 5  # whole numbers that a state consists of
_DIGITS = "0123456789"
_MINUS, _POINT, _END, _MISSING = 10, 11, 12, 13  # places among the tokens of numbers
_START, _WHOLE, _FRACTION, _WORD, _DONE = range(5)  # phases of a state
_DAYS = np.datetime64(0, "D")


class Automaton(ABC):
    """Accepts the texts of the cells of one column.

    Attributes
    ----------
    tokens : ndarray of shape (n_tokens,)
        What can occur in a cell, as tokens of the language model. Everywhere else a token is a
        place in this list.
    longest : int
        Tokens of the longest text.
    """

    tokens: Ids
    longest: int

    def start(self, n_cells: int) -> Ids:
        """Give the states before the first token, (n_cells, STATE)."""
        return np.zeros((n_cells, STATE), dtype=np.int64)

    @abstractmethod
    def allowed(self, states: Ids) -> Mask:
        """Say which tokens may come next, (n_cells, n_tokens)."""

    @abstractmethod
    def advance(self, states: Ids, chosen: Ids) -> Ids:
        """Give the states after one more token each, which must be allowed."""

    @abstractmethod
    def finished(self, states: Ids) -> Mask:
        """Say which cells are complete, (n_cells,)."""

    @abstractmethod
    def codes(self, states: Ids) -> Ids:
        """Give the codes of complete cells, (n_cells,)."""

    @abstractmethod
    def spell(self, codes: Ids) -> Ids:
        """Give the texts of cells, (n_cells, longest), -1 behind their end."""

    @abstractmethod
    def restricted(self, allowed: Any) -> Automaton:
        """Give an automaton for some of the cells only."""

    def choices(self, codes: Ids) -> tuple[Ids, Ids, Ids, Mask]:
        """Follow the texts of cells and find where there is more than one way on.

        Returns
        -------
        spelled : ndarray of shape (n_cells, longest)
        rows, places : ndarray of shape (n_choices,)
            Which cell and which of its tokens.
        masks : ndarray of shape (n_choices, n_tokens)
            What was allowed there.
        """
        distinct, back = np.unique(codes, return_inverse=True)
        spelled = self.spell(distinct)
        states = self.start(len(distinct))
        rows, places = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        masks = [np.empty((0, len(self.tokens)), dtype=bool)]
        for place in range(self.longest):
            there = np.flatnonzero(spelled[:, place] >= 0)
            if len(there) == 0:
                break
            allowed = self.allowed(states[there])
            several = allowed.sum(1) > 1
            rows.append(there[several])
            places.append(np.full(int(several.sum()), place))
            masks.append(allowed[several])
            states[there] = self.advance(states[there], spelled[there, place])
        # From distinct cells back to all of them.
        at, mask = np.concatenate(rows), np.concatenate(masks)
        where = np.concatenate(places)
        order = np.argsort(at, kind="stable")
        start = np.searchsorted(at[order], np.arange(len(distinct) + 1))
        counts = (start[1:] - start[:-1])[back]
        of_row = np.repeat(np.arange(len(codes)), counts)
        inner = np.arange(len(of_row)) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = order[np.repeat(start[back], counts) + inner]
        return spelled[back], of_row, where[taken], mask[taken]


class Trie(Automaton):
    """The texts of a list of values.

    Parameters
    ----------
    sequences : list of list of int
        The tokens of each cell, none the beginning of another.
    """

    def __init__(self, sequences: list[list[int]]) -> None:
        self.tokens = np.unique(np.concatenate([np.asarray(one) for one in sequences]))
        self.longest = max(map(len, sequences))
        place = {int(token): number for number, token in enumerate(self.tokens)}
        children: list[dict[int, int]] = [{}]
        # Paths of nodes, which start at the root, and of tokens.
        self._paths = np.zeros((len(sequences), self.longest + 1), dtype=np.int64)
        self._spelled = np.full((len(sequences), self.longest), -1)
        for code, sequence in enumerate(sequences):
            node = 0
            for number, token in enumerate(sequence):
                local = place[int(token)]
                if local not in children[node]:
                    children[node][local] = len(children)
                    children.append({})
                node = children[node][local]
                self._spelled[code, number] = local
                self._paths[code, number + 1 :] = node
        ends = self._paths[:, -1]
        if len(set(ends.tolist())) < len(ends) or any(children[node] for node in ends):
            raise ValueError("No text of a cell may be the beginning of another.")
        self._cell_of = np.full(len(children), -1)
        self._cell_of[ends] = np.arange(len(sequences))
        counts = [len(below) for below in children]
        self._start = np.concatenate([[0], np.cumsum(counts)])
        pairs = [pair for below in children for pair in sorted(below.items())]
        self._token = np.array([token for token, _ in pairs], dtype=np.int64)
        self._node = np.array([node for _, node in pairs], dtype=np.int64)
        parents = np.repeat(np.arange(len(children)), counts)
        self._keys = parents * len(self.tokens) + self._token  # rising
        self._open = np.ones(len(self._node), dtype=bool)

    def allowed(self, states: Ids) -> Mask:
        node = states[:, 0]
        counts = self._start[node + 1] - self._start[node]
        rows = np.repeat(np.arange(len(node)), counts)
        inner = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        child = np.repeat(self._start[node], counts) + inner
        mask = np.zeros((len(node), len(self.tokens)), dtype=bool)
        mask[rows, self._token[child]] = self._open[child]
        return mask

    def advance(self, states: Ids, chosen: Ids) -> Ids:
        states = states.copy()
        keys = states[:, 0] * len(self.tokens) + chosen
        states[:, 0] = self._node[np.searchsorted(self._keys, keys)]
        return states

    def finished(self, states: Ids) -> Mask:
        return self._cell_of[states[:, 0]] >= 0

    def codes(self, states: Ids) -> Ids:
        return self._cell_of[states[:, 0]]

    def spell(self, codes: Ids) -> Ids:
        return self._spelled[codes]

    def restricted(self, allowed: Any) -> Trie:
        """Give an automaton for the cells of a mask of shape (n_cells, 1)."""
        some = copy.copy(self)
        reached = np.zeros(len(self._cell_of), dtype=bool)
        reached[self._paths[np.asarray(allowed).ravel()].ravel()] = True
        some._open = reached[self._node]
        return some


class _Grammar(Automaton):
    """What grammars of numbers and of times share: an optional word for a missing cell.

    Codes count up from the least cell; that of a missing cell comes after the greatest.

    Parameters
    ----------
    low, high, step : int
        Cells are the whole numbers low, low + step, ... up to high.
    characters : dict of {str: int}
        The token of each character.
    end : int
        The token behind a cell.
    word : list of int, optional
        What stands for a missing cell; it must not begin like a number.
    """

    def __init__(
        self,
        low: int,
        high: int,
        step: int,
        characters: dict[str, int],
        marks: str,
        end: int,
        word: list[int] | None,
    ) -> None:
        self.low, self.high, self.step = low, high, step
        self.word = list(word or [])
        self.tokens = np.array([*(characters[mark] for mark in marks), end, *self.word])
        self.intervals = np.array([[low, high]], dtype=np.int64)
        self.takes_missing = word is not None

    def restricted(self, allowed: Any) -> _Grammar:
        """Give an automaton for cells of some intervals of codes, both ends included, (n, 2)."""
        some = copy.copy(self)
        intervals = np.asarray(allowed, dtype=np.int64).reshape(-1, 2) + self.low
        some.takes_missing = self.takes_missing and bool((intervals[:, 1] > self.high).any())
        intervals = np.minimum(intervals, [np.iinfo(np.int64).max, self.high])
        some.intervals = intervals[intervals[:, 0] <= intervals[:, 1]]
        return some

    def finished(self, states: Ids) -> Mask:
        return states[:, 0] == _DONE

    def _follow_word(self, states: Ids, mask: Mask, end: int) -> None:
        rows = np.flatnonzero(states[:, 0] == _WORD)
        place = states[rows, 4]
        mask[rows, np.where(place < len(self.word), end + 1 + place, end)] = True


class DigitGrammar(_Grammar):
    """Numbers with a fixed number of decimals, a digit a token, without leading zeros.

    Parameters
    ----------
    low, high, step : int
        In units of the last decimal.
    decimals : int
    characters, end, word
        As in the other grammars.
    """

    def __init__(
        self,
        low: int,
        high: int,
        step: int,
        decimals: int,
        characters: dict[str, int],
        end: int,
        word: list[int] | None = None,
    ) -> None:
        super().__init__(low, high, step, characters, _DIGITS + "-.", end, word)
        self.decimals = decimals
        most = max(abs(low), abs(high))
        self.whole = max(len(str(most)) - decimals, 1)  # digits before the point
        written = (low < 0) + self.whole + (decimals > 0) + decimals
        self.longest = max(written, len(self.word)) + 1

    def allowed(self, states: Ids) -> Mask:
        mask = np.zeros((len(states), len(self.tokens)), dtype=bool)
        phase, sign, prefix, digits = states[:, 0], states[:, 1], states[:, 2], states[:, 3]
        starts, whole = phase == _START, phase == _WHOLE
        fraction = phase == _FRACTION
        sign = np.where(starts, 1, sign)
        next_ = 10 * prefix[:, None] + np.arange(10)  # (n_cells, 10)
        # No leading zeros, and no more digits than the largest number has.
        rows = np.flatnonzero(
            starts | (whole & (digits < self.whole) & ((prefix > 0) | (digits == 0)))
        )
        mask[rows, :10] = self._whole_goes_on(next_[rows], digits[rows] + 1, sign[rows])
        mask[starts, _MINUS] = self._some(np.array([1]), np.array([10**18]), np.array([-1]))[0]
        mask[starts, _MISSING : _MISSING + 1] = self.takes_missing
        rows = np.flatnonzero(whole & (digits > 0))
        scale = 10**self.decimals
        there = self._some(prefix[rows] * scale, (prefix[rows] + 1) * scale - 1, sign[rows])
        mask[rows, _POINT if self.decimals else _END] = there
        rows = np.flatnonzero(fraction & (digits < self.decimals))
        left = 10 ** (self.decimals - digits[rows] - 1)[:, None]
        mask[rows, :10] = self._some(
            next_[rows] * left, (next_[rows] + 1) * left - 1, sign[rows, None]
        )
        mask[fraction & (digits == self.decimals), _END] = True
        self._follow_word(states, mask, _END)
        return mask

    def _whole_goes_on(self, prefix: Ids, digits: Ids, sign: Ids) -> Mask:
        """Say which beginnings of whole parts, (n_cells, 10), lead to a cell."""
        found = np.zeros(prefix.shape, dtype=bool)
        for more in range(self.whole):
            scale = 10 ** (more + self.decimals)
            fits = (digits + more <= self.whole)[:, None] & ((prefix > 0) | (more == 0))
            found |= fits & self._some(prefix * scale, (prefix + 1) * scale - 1, sign[:, None])
        return found

    def _some(self, least: Ids, most: Ids, sign: Ids) -> Mask:
        """Say whether a cell has a magnitude from `least` to `most` and this sign."""
        found = np.zeros(np.broadcast_shapes(least.shape, sign.shape), dtype=bool)
        minus = sign < 0
        rest = np.where(minus, -self.low, self.low) % self.step
        for low, high in self.intervals.tolist():
            first = np.maximum(least, np.where(minus, max(1, -high), max(low, 0)))
            last = np.minimum(most, np.where(minus, -low, high))
            found |= first + (rest - first) % self.step <= last
        return found

    def advance(self, states: Ids, chosen: Ids) -> Ids:
        states = states.copy()
        starts = states[:, 0] == _START
        states[starts, 1] = np.where(chosen[starts] == _MINUS, -1, 1)
        states[starts, 0] = np.where(chosen[starts] == _MISSING, _WORD, _WHOLE)
        digit = chosen < 10
        states[digit, 2] = 10 * states[digit, 2] + chosen[digit]
        states[digit, 3] += 1
        point = chosen == _POINT
        states[point, 0], states[point, 3] = _FRACTION, 0
        states[chosen >= _MISSING, 4] += 1
        states[chosen == _END, 0] = _DONE
        return states

    def codes(self, states: Ids) -> Ids:
        return np.where(
            states[:, 4] > 0, self.high - self.low + 1, states[:, 1] * states[:, 2] - self.low
        )

    def spell(self, codes: Ids) -> Ids:
        spelled = np.full((len(codes), self.longest), -1)
        for row, code in enumerate(codes.tolist()):
            number = code + self.low
            if number > self.high:
                places = [_MISSING + place for place in range(len(self.word))]
            else:
                text = str(abs(number)).zfill(self.decimals + 1)
                places = [int(digit) for digit in text]
                if self.decimals:
                    places.insert(len(places) - self.decimals, _POINT)
                places = [_MINUS] * (number < 0) + places
            spelled[row, : len(places) + 1] = [*places, _END]
        return spelled


_SHAPES = "dddd-dd-dd dd:dd:dd."  # a digit, or what separates


class ClockGrammar(_Grammar):
    """Points in time, as ``2026-01-31 23:59:59.25``, down to whatever the column has.

    Parameters
    ----------
    low, high, step : int
        In ticks since 1970, between the years 1000 and 9999.
    per_day : int
        Ticks of a day: 1, 1440, or 86,400 times a power of 10.
    characters, end, word
        As in the other grammars.
    """

    def __init__(
        self,
        low: int,
        high: int,
        step: int,
        per_day: int,
        characters: dict[str, int],
        end: int,
        word: list[int] | None = None,
    ) -> None:
        super().__init__(low, high, step, characters, _DIGITS + "-: .", end, word)
        self.per_day = per_day
        parts = {1: 10, 24 * 60: 16, 24 * 3600: 19}
        fraction = 0 if per_day in parts else len(str(per_day // 86_400)) - 1
        shape = _SHAPES[: parts.get(per_day, 20)] + "d" * fraction
        self.shape = np.array([-1 if mark == "d" else 10 + "-: .".index(mark) for mark in shape])
        self.longest = max(len(shape), len(self.word)) + 1

    def allowed(self, states: Ids) -> Mask:
        mask = np.zeros((len(states), len(self.tokens)), dtype=bool)
        end, word = 14, states[:, 0] == _WORD
        for place in np.unique(states[~word, 3]).tolist():
            rows = np.flatnonzero(~word & (states[:, 3] == place))
            if place == len(self.shape):
                mask[rows, end] = True
            elif self.shape[place] >= 0:
                mask[rows, self.shape[place]] = True
            else:
                for digit in range(10):
                    after = self._with(states[rows], digit, place)
                    mask[rows, digit] = self._some(*self._span(after, place + 1))
        starts = states[:, 0] == _START
        mask[starts, end + 1 : end + 2] = self.takes_missing
        self._follow_word(states, mask, end)
        return mask

    def _with(self, states: Ids, digit: Any, place: int) -> Ids:
        """Append a digit to the date, or to the time of day."""
        states = states.copy()
        part = 1 if place < 10 else 2
        states[:, part] = 10 * states[:, part] + digit
        return states

    def _some(self, first: Ids, last: Ids) -> Mask:
        found = np.zeros(len(first), dtype=bool)
        for low, high in self.intervals.tolist():
            least, most = np.maximum(first, low), np.minimum(last, high)
            found |= least + (self.low - least) % self.step <= most
        return found

    def _span(self, states: Ids, place: int) -> tuple[Ids, Ids]:
        """Give the first and the last tick of what begins so; none where first > last."""
        date, time = states[:, 1], states[:, 2]
        if place <= 10:
            first, last = _days(date, int((self.shape[:place] < 0).sum()))
            # Nanoseconds of distant years would not fit in 64 bits.
            least, most = self.low // self.per_day, self.high // self.per_day
            none = (first > most) | (last < least) | (first > last)
            first, last = np.clip(first, least, most), np.clip(last, least, most)
            start = first * self.per_day
            return start, np.where(none, start - 1, (last + 1) * self.per_day - 1)
        day = _days(date, 8)[0] * self.per_day
        n_digits = int((self.shape[11:place] < 0).sum())
        low, high = _of_day(time, n_digits, self.per_day)
        return day + low, day + high

    def advance(self, states: Ids, chosen: Ids) -> Ids:
        states = states.copy()
        word = chosen > 14
        starts = states[:, 0] == _START
        states[starts, 0] = np.where(word[starts], _WORD, _WHOLE)
        digit = chosen < 10
        date = digit & (states[:, 3] < 10)
        for rows, part in ((date, 1), (digit & ~date, 2)):
            states[rows, part] = 10 * states[rows, part] + chosen[rows]
        states[~word, 3] += 1
        states[word, 4] += 1
        states[chosen == 14, 0] = _DONE
        return states

    def codes(self, states: Ids) -> Ids:
        ticks = _days(states[:, 1], 8)[0] * self.per_day
        if self.per_day > 1:
            n_digits = int((self.shape[11:] < 0).sum())
            ticks = ticks + _of_day(states[:, 2], n_digits, self.per_day)[0]
        return np.where(states[:, 4] > 0, self.high - self.low + 1, ticks - self.low)

    def spell(self, codes: Ids) -> Ids:
        spelled = np.full((len(codes), self.longest), -1)
        places = {mark: 10 + number for number, mark in enumerate("-: .")}
        places |= {digit: number for number, digit in enumerate(_DIGITS)}
        for row, code in enumerate(codes.tolist()):
            if code + self.low > self.high:
                text = [15 + place for place in range(len(self.word))]
            else:
                text = [places[mark] for mark in self._written(code + self.low)]
            spelled[row, : len(text) + 1] = [*text, 14]
        return spelled

    def _written(self, tick: int) -> str:
        day, rest = divmod(tick, self.per_day)
        text = str(_DAYS + day)
        if self.per_day == 1:
            return text
        if self.per_day == 24 * 60:
            return f"{text} {rest // 60:02}:{rest % 60:02}"
        per_second = self.per_day // 86_400
        second, part = divmod(rest, per_second)
        text += f" {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        return text if per_second == 1 else f"{text}.{part:0{len(str(per_second)) - 1}}"


def _days(date: Ids, n_digits: int) -> tuple[Ids, Ids]:
    """Give the first and the last day, since 1970, of dates that begin with these digits."""
    if n_digits <= 4:
        scale = 10 ** (4 - n_digits)
        return _first_day(date * scale, 1), _first_day((date + 1) * scale, 1) - 1
    year, month = (date // 10, date % 10) if n_digits == 5 else _split(date, n_digits)
    if n_digits == 5:
        low, high = np.where(month == 0, 1, 10), np.where(month == 0, 9, 12)
        first, last = _first_day(year, low), _first_day(year, high + 1) - 1
        return first, np.where(month <= 1, last, first - 1)
    real = (month >= 1) & (month <= 12)
    month = np.clip(month, 1, 12)
    first, last = _first_day(year, month), _first_day(year, month + 1) - 1
    if n_digits >= 7:
        day = date % 10 if n_digits == 7 else date % 100
        low, high = (10 * day, 10 * day + 9) if n_digits == 7 else (day, day)
        base = first - 1
        first, last = base + np.maximum(low, 1), np.minimum(last, base + high)
    return first, np.where(real, last, first - 1)


def _split(date: Ids, n_digits: int) -> tuple[Ids, Ids]:
    months = date // 10 ** (n_digits - 6)
    return months // 100, months % 100


def _first_day(year: Ids, month: Any) -> Ids:
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days: Ids = months.astype("M8[D]").astype(np.int64)
    return days


def _of_day(time: Ids, n_digits: int, per_day: int) -> tuple[Ids, Ids]:
    """Give the first and the last tick of the day of times that begin with these digits."""
    low, high = np.zeros_like(time), np.full_like(time, per_day - 1)
    real = np.ones(len(time), dtype=bool)
    used, size = 0, per_day
    for limit in (24, 60, 60):
        taken = min(n_digits - used, 2)
        if taken <= 0:
            break
        part = time // 10 ** (n_digits - used - taken) % 10**taken
        size //= limit
        first, last = (10 * part, np.minimum(10 * part + 9, limit - 1))
        if taken == 2:
            first, last = part, part
        real &= first < limit
        low, high = low + first * size, low + (last + 1) * size - 1
        used += taken
    if n_digits > used:  # of a second
        left = n_digits - used
        part = time % 10**left
        size //= 10**left
        low, high = low + part * size, low + (part + 1) * size - 1
    return low, np.where(real, high, low - 1)
