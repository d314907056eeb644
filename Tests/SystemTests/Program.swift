// Running the real executable: where it is, how to start it, what it said and how it ended.

import Foundation
import Glibc
import Synchronization
import Testing

enum Program {
  /// The executable under test: named by the environment, or beside the test bundle.
  static let path: String = {
    if let named = ProcessInfo.processInfo.environment["PORTCULLIS_EXECUTABLE"] { return named }
    let bundle = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    return bundle.appendingPathComponent("portcullis").path
  }()

  struct Outcome {
    let exitCode: Int32
    let output: String
    let errors: String
  }

  /// Runs a program to its end.
  static func run(
    _ arguments: [String], executable: String = path, environment: [String: String] = [:]
  ) async throws -> Outcome {
    let process = try RunningProgram(arguments, executable: executable, environment: environment)
    let code = await process.exitCode()
    await process.waitForEndOfOutput()
    return Outcome(exitCode: code, output: process.output, errors: process.errors)
  }
}

/// A program that runs. Ends it when it is let go of.
final class RunningProgram: Sendable {
  private struct State {
    var lines: [String: String] = ["out": "", "err": ""]
    var ended: Int32?
    /// Streams that have not come to their end.
    var open = 2
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  let processID: pid_t
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

  init(_ arguments: [String], executable: String = Program.path, environment: [String: String] = [:]) throws {
    // A shell that runs the tests in the background has them ignore SIGINT, and whatever they start would do so too.
    signal(SIGINT, SIG_DFL)
    let process = Process()
    let (output, errors, input) = (Pipe(), Pipe(), Pipe())
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardOutput = output
    process.standardError = errors
    process.standardInput = input
    let state = SharedState()
    self.state = state
    self.input = input.fileHandleForWriting
    for (name, pipe) in [("out", output), ("err", errors)] {
      Thread.detachNewThread {
        while true {
          let data = Self.read(pipe.fileHandleForReading.fileDescriptor)
          if data.isEmpty { return state.change { $0.open -= 1 } }
          state.change { $0.lines[name, default: ""] += String(decoding: data, as: UTF8.self) }
        }
      }
    }
    process.terminationHandler = { process in
      let code = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
      state.change { $0.ended = code }
    }
    // Threads of a pool block signals, and what is started from one inherits that: it could not be interrupted.
    var (none, before) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
    processID = process.processIdentifier
  }

  /// What there is next, or nothing at the end. Children that end interrupt calls, which is no reason to give up.
  private static func read(_ descriptor: Int32) -> Data {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(descriptor, &bytes, bytes.count)
      if count >= 0 { return Data(bytes.prefix(count)) }
      if errno != EINTR { return Data() }
    }
  }

  deinit {
    if state.value.withLock({ $0.ended }) == nil { kill(processID, SIGKILL) }
  }

  var output: String { state.value.withLock { $0.lines["out"] ?? "" } }
  var errors: String { state.value.withLock { $0.lines["err"] ?? "" } }
  var hasEnded: Bool { state.value.withLock { $0.ended } != nil }

  func send(_ signal: Int32) { kill(processID, signal) }

  func write(_ text: String) throws { try input.write(contentsOf: Data(text.utf8)) }
  func closeInput() throws { try input.close() }

  func exitCode() async -> Int32 {
    await wait { $0.ended != nil }
    return state.value.withLock { $0.ended } ?? -1
  }

  /// A program may have ended before all that it said was read. Not for one that leaves others behind with its streams.
  func waitForEndOfOutput() async { await wait { $0.open == 0 } }

  /// Waits until standard error holds `text`, or the program ended without it.
  func waitForErrors(_ text: String) async throws {
    await wait { $0.ended != nil || ($0.lines["err"] ?? "").contains(text) }
    try #require(errors.contains(text), "the program ended without saying \"\(text)\"; it said: \(errors)")
  }

  /// Waits until standard output holds `text`, or the program ended without it.
  func waitForOutput(_ text: String, times: Int = 1) async throws {
    await wait { $0.ended != nil || ($0.lines["out"] ?? "").components(separatedBy: text).count > times }
    try #require(
      output.components(separatedBy: text).count > times,
      "the program ended without saying \"\(text)\"; it said: \(output) \(errors)")
  }

  /// Also returns when the test is cancelled, as it is when its time is over.
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

/// A directory that goes away with the test.
final class ScratchDirectory: Sendable {
  let path: String

  init() throws {
    var template = Array((NSTemporaryDirectory() + "/portcullis-test-XXXXXX").utf8CString)
    guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func callAsFunction(_ name: String) -> String { path + "/" + name }
}

enum Ports {
  /// Ports on loopback that nobody listens on, below the range from which the system takes them for connections.
  static func free(_ count: Int) -> [Int] {
    var found: [Int] = []
    while found.count < count {
      let port = Int.random(in: 10_000..<30_000)
      if !found.contains(port), canListen(port) { found.append(port) }
    }
    return found
  }

  private static func canListen(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
