/// libzmq without its header: functions of the very library that pyzmq has loaded, found by name.
#pragma once

#include <dlfcn.h>

#include <cerrno>
#include <cstddef>
#include <string>

namespace cudaq_target {

/// libzmq's `zmq_msg_t`: 64 opaque bytes, a part of its binary interface since 4.1.
struct ZmqMessage {
    alignas(void*) unsigned char opaque[64];
};

/// Constants of libzmq's binary interface that are used here.
namespace zmq_constant {
inline constexpr int kDontWait = 1;
inline constexpr int kSendMore = 2;
inline constexpr int kEvents = 15;
inline constexpr int kReceiveTimeout = 27;
inline constexpr int kPollIn = 1;
}  // namespace zmq_constant

/// No member is null after `open_zmq` succeeded.
struct ZmqApi {
    int (*msg_init)(ZmqMessage*) = nullptr;
    int (*msg_init_size)(ZmqMessage*, std::size_t) = nullptr;
    int (*msg_init_data)(ZmqMessage*, void*, std::size_t, void (*)(void*, void*), void*) = nullptr;
    int (*msg_recv)(ZmqMessage*, void*, int) = nullptr;
    int (*msg_send)(ZmqMessage*, void*, int) = nullptr;
    int (*msg_close)(ZmqMessage*) = nullptr;
    int (*msg_more)(const ZmqMessage*) = nullptr;
    void* (*msg_data)(ZmqMessage*) = nullptr;
    std::size_t (*msg_size)(const ZmqMessage*) = nullptr;
    int (*send)(void*, const void*, std::size_t, int) = nullptr;
    int (*getsockopt)(void*, int, void*, std::size_t*) = nullptr;
    int (*setsockopt)(void*, int, const void*, std::size_t) = nullptr;
    int (*error_number)() = nullptr;
    void (*version)(int*, int*, int*) = nullptr;
};

namespace detail {

template <typename Function>
bool resolve(void* library, const char* name, Function*& target, std::string& reason) {
    target = reinterpret_cast<Function*>(dlsym(library, name));
    if (target == nullptr) {
        reason = std::string("it shows no ") + name;
    }
    return target != nullptr;
}

}  // namespace detail

/// Finds the functions behind `path`, a library of this process that links libzmq, such as pyzmq's
/// own. Empty on success, else why not. Nothing is loaded that was not there before.
inline std::string open_zmq(const std::string& path, ZmqApi& api) {
    using detail::resolve;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (library == nullptr) {
        return "this process has not loaded it";
    }
    std::string reason;
    // A look-up in a library includes those that it links.
    const bool is_whole = resolve(library, "zmq_msg_init", api.msg_init, reason) &&
                          resolve(library, "zmq_msg_init_size", api.msg_init_size, reason) &&
                          resolve(library, "zmq_msg_init_data", api.msg_init_data, reason) &&
                          resolve(library, "zmq_msg_recv", api.msg_recv, reason) &&
                          resolve(library, "zmq_msg_send", api.msg_send, reason) &&
                          resolve(library, "zmq_msg_close", api.msg_close, reason) &&
                          resolve(library, "zmq_msg_more", api.msg_more, reason) &&
                          resolve(library, "zmq_msg_data", api.msg_data, reason) &&
                          resolve(library, "zmq_msg_size", api.msg_size, reason) &&
                          resolve(library, "zmq_send", api.send, reason) &&
                          resolve(library, "zmq_getsockopt", api.getsockopt, reason) &&
                          resolve(library, "zmq_setsockopt", api.setsockopt, reason) &&
                          resolve(library, "zmq_errno", api.error_number, reason) &&
                          resolve(library, "zmq_version", api.version, reason);
    if (!is_whole) {
        dlclose(library);
    }
    return reason;  // the handle stays open as long as the process: so do the functions
}

}  // namespace cudaq_target
