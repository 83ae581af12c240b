/* Reads the elements of a flat JSON array of numbers into floats, without anything in between.
 *
 * A general parser writes a record for each number before anybody can ask for a float; this goes from digits to the float
 * at once. It takes what tensors are made of and says no to all else, so that a general parser can have it: what it
 * returns is, bit for bit, the nearest double to each number, rounded to the nearest float.
 *
 * Digits come eight at a time, as one 64-bit word whose lowest byte is the first character, and no branch depends on how
 * many digits a number has as long as it has the usual ones. It knows nothing of Python, JSON objects or tensors.
 */

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are read with their first character lowest"
#endif

enum {
    WORD = 8,
    /* A usual number and what follows it: sign, digit, point, three words, exponent, comma and space. */
    LONGEST_USUAL = 40,
    /* The largest power of ten that a double holds exactly. */
    LARGEST_POWER = 22,
    LEAST_EXPONENT = -2 * LARGEST_POWER,
    /* Digits that a 64-bit number holds, whatever they are. */
    MOST_DIGITS = 19,
    LARGEST_WRITTEN_EXPONENT = 9999,
};

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t WHOLE_POWERS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* The largest number behind which so many digits fit. */
static const uint64_t FITS_BEHIND[] = {UINT64_MAX,          UINT64_MAX / 10 - 1,     UINT64_MAX / 100 - 1,
                                       UINT64_MAX / 1000 - 1, UINT64_MAX / 10000 - 1,  UINT64_MAX / 100000 - 1,
                                       UINT64_MAX / 1000000 - 1, UINT64_MAX / 10000000 - 1};

/* A number as it is written: `digits` times ten to the power of `exponent`. */
struct decimal {
    uint64_t digits;
    int64_t exponent;
    bool negative;
};

static inline bool is_digit(char character) {
    return (unsigned char)(character - '0') < 10;
}

static inline bool is_space(char character) {
    return character == ' ' || character == '\n' || character == '\r' || character == '\t';
}

static inline const char *after_space(const char *at, const char *end) {
    while (at < end && is_space(*at)) {
        at++;
    }
    return at;
}

static inline uint64_t word_at(const char *at) {
    uint64_t word;
    memcpy(&word, at, WORD);
    return word;
}

/* How many digits a word begins with, at most eight. */
static inline unsigned digits_in(uint64_t word) {
    uint64_t difference = word ^ 0x3030303030303030u;
    uint64_t others = ((difference + 0x7676767676767676u) | difference) & 0x8080808080808080u;
    return others ? (unsigned)__builtin_ctzll(others) / 8 : WORD;
}

/* The number that eight digits make, summed by pairs, fours and eights. */
static inline uint64_t value_of(uint64_t word) {
    word = (word & 0x0F0F0F0F0F0F0F0Fu) * (1 + (10 << 8)) >> 8;
    word = (word & 0x00FF00FF00FF00FFu) * (1 + (100 << 16)) >> 16;
    return (word & 0x0000FFFF0000FFFFu) * (1 + ((uint64_t)10000 << 32)) >> 32;
}

/* A word with its first digits, at most seven, moved to its end, behind zeros. */
static inline uint64_t first_digits(uint64_t word, unsigned digits) {
    /* In two steps, since a shift by all 64 bits is undefined. */
    return word << 8 << (8 * (WORD - 1 - digits));
}

/* Reads a number of one digit before the point and up to 23 behind it, as floats are printed; returns where it ends, or
 * NULL for any other. LONGEST_USUAL characters must be there. */
static inline const char *read_usual(const char *at, struct decimal *number) {
    number->negative = *at == '-';
    at += number->negative;
    if (!is_digit(at[0]) || at[1] != '.' || !is_digit(at[2])) {
        return NULL;
    }
    uint64_t digits = (uint64_t)(at[0] - '0');
    at += 2;
    const char *fraction = at;
    uint64_t word = word_at(at);
    unsigned last = digits_in(word);
    if (last == WORD) {
        digits = digits * WHOLE_POWERS[WORD] + value_of(word);
        at += WORD;
        word = word_at(at);
        last = digits_in(word);
        if (last == WORD) {
            digits = digits * WHOLE_POWERS[WORD] + value_of(word);
            at += WORD;
            word = word_at(at);
            last = digits_in(word);
            /* Further digits must fit behind those, of which leading zeros are none. */
            if (last == WORD || digits > FITS_BEHIND[last]) {
                return NULL;
            }
        }
    }
    number->digits = digits * WHOLE_POWERS[last] + value_of(first_digits(word, last));
    at += last;
    number->exponent = fraction - at;
    return *at == 'e' || *at == 'E' ? NULL : at;
}

/* Appends digits to a number; returns where they end. `significant` counts those from the first that is not zero. */
static const char *read_digits(const char *at, const char *end, struct decimal *number, int *significant) {
    while (at < end && is_digit(*at)) {
        if (*significant || *at != '0') {
            ++*significant;
        }
        if (*significant <= MOST_DIGITS) {
            number->digits = number->digits * 10 + (uint64_t)(*at - '0');
        }
        at++;
    }
    return at;
}

static const char *read_exponent(const char *at, const char *end, struct decimal *number) {
    bool down = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) {
        at++;
    }
    const char *first = at;
    int64_t exponent = 0;
    while (at < end && is_digit(*at)) {
        if (exponent <= LARGEST_WRITTEN_EXPONENT) {
            exponent = exponent * 10 + (*at - '0');
        }
        at++;
    }
    number->exponent += down ? -exponent : exponent;
    return at == first ? NULL : at;
}

/* Reads any number of JSON (RFC 8259, section 6); returns where it ends, or NULL if it is none or has too many digits. */
static const char *read_number(const char *at, const char *end, struct decimal *number) {
    *number = (struct decimal){0, 0, false};
    int significant = 0;
    if (at < end && *at == '-') {
        number->negative = true;
        at++;
    }
    const char *first = at;
    at = read_digits(at, end, number, &significant);
    if (at == first || (at - first > 1 && *first == '0')) {
        return NULL;
    }
    if (at < end && *at == '.') {
        first = ++at;
        at = read_digits(at, end, number, &significant);
        if (at == first) {
            return NULL;
        }
        number->exponent = -(int64_t)(at - first);
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at = read_exponent(at + 1, end, number);
    }
    return significant > MOST_DIGITS ? NULL : at;
}

/* Rounds a number to a float; false where the result would not be certain, or is no ordinary float.
 *
 * Making a double of the digits and each of at most two divisions err by half a unit in its last place, a few units in
 * all. A double is rounded to the same float as its neighbours unless it lies next to the middle between two floats. */
static inline bool round_to_float(const struct decimal *number, float *value) {
    int64_t exponent = number->exponent;
    if (exponent < LEAST_EXPONENT || exponent > LARGEST_POWER) {
        return false;
    }
    double magnitude = (double)number->digits;
    if (exponent >= 0) {
        magnitude *= POWERS[exponent];
    } else if (exponent >= -LARGEST_POWER) {
        magnitude /= POWERS[-exponent];
    } else {
        magnitude = magnitude / POWERS[LARGEST_POWER] / POWERS[-exponent - LARGEST_POWER];
    }
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    const uint32_t beyond_float = 0x1FFFFFFF, middle = 0x10000000, margin = 8;
    if (((uint32_t)bits & beyond_float) - (middle - margin) <= 2 * margin) {
        return false;
    }
    if (magnitude > FLT_MAX || (magnitude < FLT_MIN && number->digits != 0)) {
        return false;
    }
    *value = (float)(number->negative ? -magnitude : magnitude);
    return true;
}

/* Returns where a character is first, or -1. */
int64_t fleetfit_find(const char *text, int64_t length, int64_t begin, int character) {
    const char *found = memchr(text + begin, character, (size_t)(length - begin));
    return found == NULL ? -1 : found - text;
}

/* Reads what stands between the brackets of an array.
 *
 * Returns how many numbers there are; -1 if there are more than `capacity`, if anything else is there, or if one of them
 * is for a general parser to read. What `values` then holds means nothing.
 */
int64_t fleetfit_read_floats(const char *text, int64_t length, float *values, int64_t capacity) {
    const char *const end = text + length;
    const char *at = after_space(text, end);
    int64_t count = 0;
    if (at == end) {
        return 0;
    }
    for (;;) {
        struct decimal number;
        const char *after = end - at >= LONGEST_USUAL ? read_usual(at, &number) : NULL;
        if (after == NULL) {
            after = read_number(at, end, &number);
        }
        if (after == NULL || count == capacity || !round_to_float(&number, &values[count])) {
            return -1;
        }
        count++;
        at = after < end && is_space(*after) ? after_space(after, end) : after;
        if (at == end) {
            return count;
        }
        if (*at++ != ',') {
            return -1;
        }
        if (at < end && is_space(*at)) {
            at = after_space(at + 1, end);
        }
    }
}
