// Running a program: how to start it, what it said and how it ended.
//
// Must never leave one behind: whoever lets go of a program ends it, however it was let go of.

import Foundation
package import Glibc
import Synchronization

/// A program that runs. Ends it when it is let go of.
package final class RunningProgram: Sendable {
  private struct State {
    var lines: [String: String] = ["out": "", "err": ""]
    var ended: Int32?
    /// Streams that have not come to their end.
    var open = 2
    var waiters: [CheckedContinuation<Void, Never>] = []

    /// A server that runs for hours may say much: the oldest half of what is too much goes.
    mutating func keep(_ bytes: [UInt8], of name: String) {
      lines[name, default: ""] += String(decoding: bytes, as: UTF8.self)
      guard let said = lines[name], said.utf8.count > RunningProgram.mostKept else { return }
      lines[name] = String(said.suffix(said.count / 2))
    }
  }

  /// Of each stream, in bytes.
  private static let mostKept = 32 << 20

  package let processID: pid_t
  private let state: SharedState
  private let input: FileHandle

  private final class SharedState: Sendable {
    let value = Mutex(State())

    func change(_ body: (inout State) -> Void) {
      let waiters = value.withLock { state in
        body(&state)
        defer { state.waiters = [] }
        return state.waiters
      }
      for waiter in waiters { waiter.resume() }
    }
  }

  /// - Parameters:
  ///   - environment: on top of this process's own.
  ///   - isOutOfReach: whether a Ctrl-C at the terminal is none of the program's business, but of who started it.
  ///   - keepsOutput: whether `output` has what was said; not where there is much of it and `onOutput` takes it.
  ///   - onOutput: hears what comes on standard output, on a thread of the stream's own; at the end, nothing.
  package init(
    _ arguments: [String], executable: String, environment: [String: String] = [:], isOutOfReach: Bool = false,
    keepsOutput: Bool = true, onOutput: (@Sendable (_ bytes: [UInt8]) -> Void)? = nil
  ) throws {
    // Whoever writes to a program that has ended is told so, and lives.
    signal(SIGPIPE, SIG_IGN)
    let all = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let (input, output, errors, spawned) = try Self.oneAtATime.withLock { _ in
      let (input, output, errors) = (try Self.pipe(), try Self.pipe(), try Self.pipe())
      let streams = [input.read, output.write, errors.write]
      let spawned = Result {
        try Self.spawn([executable] + arguments, all.map { "\($0)=\($1)" }, streams, isOutOfReach)
      }
      return (input, output, errors, spawned)
    }
    for descriptor in [input.read, output.write, errors.write] { close(descriptor) }
    let state = SharedState()
    self.state = state
    self.input = FileHandle(fileDescriptor: input.write, closeOnDealloc: true)
    for (name, descriptor) in [("out", output.read), ("err", errors.read)] {
      Thread.detachNewThread {
        while true {
          let bytes = Self.read(descriptor)
          if bytes.isEmpty { break }
          if name == "out" { onOutput?(bytes) }
          if name == "out", !keepsOutput { continue }
          state.change { $0.keep(bytes, of: name) }
        }
        if name == "out" { onOutput?([]) }
        close(descriptor)
        state.change { $0.open -= 1 }
      }
    }
    let child = try spawned.get()
    processID = child
    Thread.detachNewThread {
      var status: Int32 = 0
      while waitpid(child, &status, 0) < 0, errno == EINTR {}
      let (code, killer) = ((status >> 8) & 0xFF, status & 0x7F)
      state.change { $0.ended = killer == 0 ? code : 128 + killer }
    }
  }

  /// A pipe that is just being made must not be inherited by what another task starts.
  private static let oneAtATime = Mutex(())

  /// Closed in whatever is started, but for the ends that it is given.
  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    guard Glibc.pipe(&ends) == 0 else { throw CocoaError(.fileReadUnknown) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  /// By the system's own call: Foundation's has crashed now and then under the load of a whole suite. No signal is blocked
  /// or ignored in the child, as it is in threads of a pool and in what a shell runs in the background.
  private static func spawn(
    _ arguments: [String], _ environment: [String], _ streams: [Int32], _ isOutOfReach: Bool
  ) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (number, stream) in streams.enumerated() {
      posix_spawn_file_actions_adddup2(&actions, stream, Int32(number))
    }
    // SwiftNIO's sockets are inherited. A node that had a copy of a connection through a proxy would keep it open
    // when the proxy closed it, and the peer at its other end would go on sending to nobody.
    for number in Int32(streams.count)..<beyondOpenDescriptors { posix_spawn_file_actions_addclose(&actions, number) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var (none, every) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigfillset(&every)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &every)
    // A terminal's Ctrl-C goes to the whole group of processes.
    let group = isOutOfReach ? POSIX_SPAWN_SETPGROUP : 0
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | group))
    let words = arguments.map { strdup($0) } + [nil]
    let variables = environment.map { strdup($0) } + [nil]
    defer { for text in words + variables { free(text) } }
    var child = pid_t()
    let result = posix_spawn(&child, arguments[0], &actions, &attributes, words, variables)
    guard result == 0 else {
      throw CocoaError(.fileNoSuchFile, userInfo: [NSFilePathErrorKey: arguments[0], "errno": Int(result)])
    }
    return child
  }

  /// Above every descriptor that is open now, with room for those that other tasks open meanwhile. To close one that is not
  /// open is no error.
  private static var beyondOpenDescriptors: Int32 {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return names.compactMap { Int32($0) }.reduce(STDERR_FILENO, max) + 256
  }

  /// What there is next, or nothing at the end. Children that end interrupt calls, which is no reason to give up.
  private static func read(_ descriptor: Int32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(descriptor, &bytes, bytes.count)
      if count >= 0 { return Array(bytes.prefix(count)) }
      if errno != EINTR { return [] }
    }
  }

  deinit {
    if state.value.withLock({ $0.ended }) == nil { kill(processID, SIGKILL) }
  }

  package var output: String { state.value.withLock { $0.lines["out"] ?? "" } }
  package var errors: String { state.value.withLock { $0.lines["err"] ?? "" } }
  package var hasEnded: Bool { state.value.withLock { $0.ended } != nil }

  /// Not to one that has ended: its id may be another's by now.
  package func send(_ signal: Int32) {
    if !hasEnded { kill(processID, signal) }
  }

  package func write(_ text: String) throws { try input.write(contentsOf: Data(text.utf8)) }
  package func closeInput() throws { try input.close() }

  package func exitCode() async -> Int32 {
    await wait { $0.ended != nil }
    return state.value.withLock { $0.ended } ?? -1
  }

  /// A program may have ended before all that it said was read. Not for one that leaves others behind with its streams.
  package func waitForEndOfOutput() async { await wait { $0.open == 0 } }

  /// Waits until standard error holds `text`, or the program ended without it.
  package func waitForErrors(_ text: String) async throws {
    await wait { $0.ended != nil || ($0.lines["err"] ?? "").contains(text) }
    guard errors.contains(text) else { throw SilentProgram(awaited: text, said: errors) }
  }

  /// Waits until standard output holds `text`, or the program ended without it.
  package func waitForOutput(_ text: String, times: Int = 1) async throws {
    await wait { $0.ended != nil || ($0.lines["out"] ?? "").components(separatedBy: text).count > times }
    guard output.components(separatedBy: text).count > times else {
      throw SilentProgram(awaited: text, said: "\(output) \(errors)")
    }
  }

  /// Also returns when the task is cancelled, as a test is when its time is over.
  private func wait(until condition: @Sendable @escaping (State) -> Bool) async {
    await withTaskCancellationHandler {
      await waitUntilCancelled(or: condition)
    } onCancel: {
      state.change { _ in }
    }
  }

  private func waitUntilCancelled(or condition: @Sendable @escaping (State) -> Bool) async {
    while !Task.isCancelled, !state.value.withLock({ condition($0) }) {
      await withCheckedContinuation { continuation in
        let isDone = state.value.withLock { state in
          if condition(state) || Task.isCancelled { return true }
          state.waiters.append(continuation)
          return false
        }
        if isDone { continuation.resume() }
      }
    }
  }
}

/// A program ended, or the waiting was cancelled, before it said what was awaited.
package struct SilentProgram: Error, CustomStringConvertible {
  let awaited: String
  let said: String

  package var description: String { "the program ended without saying \"\(awaited)\"; it said: \(said)" }
}
