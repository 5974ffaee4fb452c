"""XXH3-128, seed 0, in canonical byte order, of inputs above 16 bytes: every digest of Baton's formats covers more."""
import struct

MASK = (1 << 64) - 1

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
STRIPES_PER_BLOCK = 16


def words(data, at):
    return struct.unpack_from("<8Q", data, at)


SECRET_AT = [words(SECRET, at) for at in range(len(SECRET) - 63)]


def accumulate(acc, stripe, key):
    for i in range(8):
        mixed = stripe[i] ^ key[i]
        acc[i ^ 1] = (acc[i ^ 1] + stripe[i]) & MASK
        acc[i] = (acc[i] + (mixed & 0xFFFFFFFF) * (mixed >> 32)) & MASK


def merge(acc, at, start):
    key = SECRET_AT[at]
    result = start
    for i in range(4):
        product = (acc[2 * i] ^ key[2 * i]) * (acc[2 * i + 1] ^ key[2 * i + 1])
        result += (product ^ product >> 64) & MASK
    result &= MASK
    result = (result ^ result >> 37) * 0x165667919E3779F9 & MASK
    return result ^ result >> 32


def fold(data, at, key_at):
    low, high = struct.unpack_from("<2Q", data, at)
    key_low, key_high = struct.unpack_from("<2Q", SECRET, key_at)
    product = (low ^ key_low) * (high ^ key_high)
    return (product ^ product >> 64) & MASK


def mix(acc, data, at, other, key_at):
    """32 bytes of a short input: 16 from its front, 16 from its back."""
    for side, (one, two, key) in enumerate(((at, other, key_at), (other, at, key_at + 16))):
        acc[side] = (acc[side] + fold(data, one, key)) & MASK
        acc[side] ^= sum(struct.unpack_from("<2Q", data, two)) & MASK


def avalanche(value):
    value = (value ^ value >> 37) * 0x165667919E3779F9 & MASK
    return value ^ value >> 32


def short(data):
    """17 to 240 bytes."""
    size = len(data)
    acc = [size * P64_1 & MASK, 0]
    if size <= 128:
        for step in reversed(range((size - 1) // 32 + 1)):
            mix(acc, data, 16 * step, size - 16 * (step + 1), 32 * step)
    else:
        for at in range(0, 128, 32):
            mix(acc, data, at, at + 16, at)
        acc = [avalanche(acc[0]), avalanche(acc[1])]
        for at in range(128, size - 31, 32):
            mix(acc, data, at, at + 16, 3 + at - 128)
        mix(acc, data, size - 16, size - 32, 136 - 17 - 16)
    low = avalanche((acc[0] + acc[1]) & MASK)
    high = avalanche((acc[0] * P64_1 + acc[1] * P64_4 + size * P64_2) & MASK)
    return struct.pack(">QQ", -high & MASK, low)


def xxh3_128(data):
    assert len(data) > 16
    if len(data) <= 240:
        return short(data)
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    size = len(data)
    blocks = (size - 1) // 1024
    for block in range(blocks):
        for stripe in range(STRIPES_PER_BLOCK):
            accumulate(acc, words(data, block * 1024 + stripe * 64), SECRET_AT[8 * stripe])
        key = SECRET_AT[128]
        for i in range(8):
            acc[i] = (acc[i] ^ acc[i] >> 47 ^ key[i]) * P32_1 & MASK
    for stripe in range((size - 1 - blocks * 1024) // 64):
        accumulate(acc, words(data, blocks * 1024 + stripe * 64), SECRET_AT[8 * stripe])
    accumulate(acc, words(data, size - 64), SECRET_AT[121])
    low = merge(acc, 11, size * P64_1 & MASK)
    high = merge(acc, 117, ~(size * P64_2) & MASK)
    return struct.pack(">QQ", high, low)
