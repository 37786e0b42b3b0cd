"""TFRecords and tf.train.Example read back from the formats' definitions, apart from dsgen."""

import struct

import google_crc32c
import numpy as np

FEATURES = {
    "input_ids": 512,
    "input_mask": 512,
    "masked_lm_ids": 76,
    "masked_lm_positions": 76,
    "masked_lm_weights": 76,
    "next_sentence_labels": 1,
    "segment_ids": 512,
}


def masked_crc(data):
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    """Yield the content of each record of a file, its length and checksums compared."""
    at = 0
    while at < len(data):
        header = data[at : at + 8]
        (length,) = struct.unpack("<Q", header)
        assert struct.unpack("<I", data[at + 8 : at + 12]) == (masked_crc(header),)
        content = data[at + 12 : at + 12 + length]
        assert struct.unpack("<I", data[at + 12 + length : at + 16 + length]) == (
            masked_crc(content),
        )
        yield content
        at += 16 + length
    assert at == len(data)


def varints(data):
    """Return the numbers of packed varints."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value, shift = 0, 0
    assert shift == 0
    return numbers


def fields(data):
    """Yield (field number, content) of a message whose fields are all length-delimited."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        assert tag & 7 == 2
        length = varint()
        yield tag >> 3, data[at : at + length]
        at += length
    assert at == len(data)


def parsed(content):
    """Return name -> values of an Example."""
    ((_, features),) = fields(content)
    values = {}
    for _, entry in fields(features):
        (_, name), (_, feature) = fields(entry)
        ((kind, listed),) = fields(feature)
        ((_, packed),) = fields(listed)
        values[name.decode()] = (
            np.frombuffer(packed, "<f4") if kind == 2 else np.array(varints(packed))
        )
    return values
