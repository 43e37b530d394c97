/// Handlers that need no Python: the ones every host of shots wants.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "dispatcher.hpp"

namespace cudaq_target {

/// Adds 1 to every byte; CUDA-Q Realtime's example, used to verify a link.
inline int rpc_increment(const void* in, void* out, std::uint32_t arg_len,
                         std::uint32_t max_result_len, std::uint32_t* result_len) noexcept {
    if (arg_len > max_result_len) {
        *result_len = 0;
        return static_cast<int>(Status::kBadRequest);
    }
    const auto* from = static_cast<const std::uint8_t*>(in);
    auto* to = static_cast<std::uint8_t*>(out);
    for (std::uint32_t i = 0; i < arg_len; ++i) {
        to[i] = static_cast<std::uint8_t>(from[i] + 1);
    }
    *result_len = arg_len;
    return 0;
}

/// Returns its arguments.
inline int echo(const void* in, void* out, std::uint32_t arg_len, std::uint32_t max_result_len,
                std::uint32_t* result_len) noexcept {
    if (arg_len > max_result_len) {
        *result_len = 0;
        return static_cast<int>(Status::kBadRequest);
    }
    std::memmove(out, in, arg_len);
    *result_len = arg_len;
    return 0;
}

/// Header of a batch of shots; `FORMAT.md`.
struct ShotBatchHeader {
    std::uint64_t session;
    std::uint64_t first_shot_id;
    std::uint32_t n_shots;
    std::uint32_t n_qubits;
};
static_assert(sizeof(ShotBatchHeader) == 24);

/// Whether `arg_len` bytes are a whole batch with this header.
constexpr bool is_whole(const ShotBatchHeader& batch, std::uint32_t arg_len) noexcept {
    if (batch.n_shots == 0) {
        return arg_len == sizeof(ShotBatchHeader);
    }
    const auto row_bytes = (std::uint64_t{batch.n_qubits} + 63) / 64 * 8;
    return batch.n_qubits > 0 &&
           row_bytes <= arg_len && batch.n_shots <= arg_len &&  // so that the product fits 64 bits
           arg_len == sizeof(ShotBatchHeader) + batch.n_shots * row_bytes;
}

/// Adds up to 255 rows of one column of 64 bits to 64 counters of 8 bits, kept as 8 bit planes:
/// a full addition of 64 counters costs two operations per plane that a carry reaches.
class ColumnCounter {
public:
    static constexpr std::uint32_t kMaxRows = 255;

    void add(std::uint64_t bits) noexcept {
        for (auto& plane : planes_) {
            const auto carry = plane & bits;
            plane ^= bits;
            bits = carry;
            if (bits == 0) {
                return;
            }
        }
    }
    std::uint32_t count(int bit) const noexcept {
        std::uint32_t sum = 0;
        for (int p = 0; p < 8; ++p) {
            sum |= static_cast<std::uint32_t>(planes_[p] >> bit & 1) << p;
        }
        return sum;
    }

private:
    std::uint64_t planes_[8] = {};
};

/// Counts, per qubit, the shots of a batch that measured 1: u32[n_qubits].
inline int occupation(const void* in, void* out, std::uint32_t arg_len,
                      std::uint32_t max_result_len, std::uint32_t* result_len) noexcept {
    *result_len = 0;
    const auto batch = load<ShotBatchHeader>(in);
    if (!is_whole(batch, arg_len) || std::uint64_t{batch.n_qubits} * 4 > max_result_len) {
        return static_cast<int>(Status::kBadRequest);
    }
    const auto* rows = static_cast<const std::byte*>(in) + sizeof(batch);
    auto* counts = static_cast<std::byte*>(out);
    std::memset(counts, 0, std::size_t{batch.n_qubits} * 4);
    const std::size_t n_words = (std::size_t{batch.n_qubits} + 63) / 64;
    for (std::size_t word = 0; word < n_words; ++word) {
        const auto n_bits = static_cast<int>(std::min<std::size_t>(64, batch.n_qubits - 64 * word));
        for (std::uint32_t first = 0; first < batch.n_shots; first += ColumnCounter::kMaxRows) {
            const auto end = std::min(batch.n_shots, first + ColumnCounter::kMaxRows);
            ColumnCounter column;
            for (auto row = std::size_t{first}; row < end; ++row) {
                column.add(load<std::uint64_t>(rows + 8 * (row * n_words + word)));
            }
            for (int bit = 0; bit < n_bits; ++bit) {
                auto* place = counts + 4 * (64 * word + static_cast<std::size_t>(bit));
                store(place, load<std::uint32_t>(place) + column.count(bit));
            }
        }
    }
    *result_len = batch.n_qubits * 4;
    return 0;
}

/// Corrections for every syndrome of a small code. `syndrome_bits` <= 24.
struct LookupTable {
    const std::uint8_t* corrections;  ///< shape (2^syndrome_bits, correction_bytes)
    std::uint32_t syndrome_bits;
    std::uint32_t correction_bytes;
};

/// Decodes packed syndromes, one or many, by a `LookupTable`: the state.
inline int look_up(const void* in, void* out, std::uint32_t arg_len, std::uint32_t max_result_len,
                   std::uint32_t* result_len, void* state) noexcept {
    const auto& table = *static_cast<const LookupTable*>(state);
    const auto row_bytes = (table.syndrome_bits + 7) / 8;
    const auto n_rows = arg_len / row_bytes;
    *result_len = 0;
    if (arg_len % row_bytes != 0 ||
        std::uint64_t{n_rows} * table.correction_bytes > max_result_len) {
        return static_cast<int>(Status::kBadRequest);
    }
    const auto* rows = static_cast<const std::byte*>(in);
    auto* to = static_cast<std::byte*>(out);
    for (std::uint32_t row = 0; row < n_rows; ++row) {
        std::uint32_t syndrome = 0;
        std::memcpy(&syndrome, rows + std::size_t{row} * row_bytes, row_bytes);
        if (syndrome >> table.syndrome_bits != 0) {
            return static_cast<int>(Status::kBadRequest);
        }
        std::memcpy(to + std::size_t{row} * table.correction_bytes,
                    table.corrections + std::size_t{syndrome} * table.correction_bytes,
                    table.correction_bytes);
    }
    *result_len = n_rows * table.correction_bytes;
    return 0;
}

}  // namespace cudaq_target
