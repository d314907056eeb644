// The runner's end of a writer: a process of its own, so that it can be paused with everything that it has in its hands.

import Foundation
package import Glibc
import Synchronization

/// A writer. Any task may give it orders; several may be under way at the same time.
package final class Writer: Sendable {
  private struct State {
    var next = 0
    var waiting: [Int: CheckedContinuation<WriterReport, Never>] = [:]
    /// The line that has begun.
    var rest: [UInt8] = []
    var hasEnded = false
  }

  package let holder: String
  private let program: RunningProgram
  private let reports: Reports
  private let acquired = Mutex<[Int64]>([])

  /// Of everything that it was granted by order, so that they can be ended where it cannot do so itself.
  var leases: [Int64] { acquired.withLock { $0 } }

  private final class Reports: Sendable {
    let state = Mutex(State())

    /// On the thread that reads the writer's output.
    func take(_ bytes: [UInt8]) {
      let settled = state.withLock { state -> [(CheckedContinuation<WriterReport, Never>, WriterReport)] in
        guard !bytes.isEmpty else {
          state.hasEnded = true
          defer { state.waiting = [:] }
          return state.waiting.values.map { ($0, .failed("the writer has ended")) }
        }
        var settled: [(CheckedContinuation<WriterReport, Never>, WriterReport)] = []
        var pieces = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)[...]
        // Behind the last line break begins the next line.
        while pieces.count > 1, let piece = pieces.popFirst() {
          let line = Data(state.rest + piece)
          state.rest = []
          guard let answer = try? JSONDecoder().decode(NumberedReport.self, from: line) else { continue }
          if let waiting = state.waiting.removeValue(forKey: answer.number) { settled.append((waiting, answer.report)) }
        }
        state.rest += pieces.first ?? []
        return settled
      }
      for (continuation, report) in settled { continuation.resume(returning: report) }
    }
  }

  package var processID: pid_t { program.processID }

  init(
    holder: String, executable: String, arguments: [String], environment: [String: String], isOutOfReach: Bool = false
  ) throws {
    self.holder = holder
    let reports = Reports()
    self.reports = reports
    program = try RunningProgram(
      arguments, executable: executable, environment: environment, isOutOfReach: isOutOfReach, keepsOutput: false
    ) { reports.take($0) }
  }

  /// - Throws: `ConformanceError` when it was not granted.
  package func acquire(_ order: AcquireOrder) async throws -> [Held] {
    guard case .granted(let held) = try await ask(.acquire(order)) else {
      throw ConformanceError("\(holder) acquired and was answered with something else")
    }
    acquired.withLock { $0 += held.map(\.lease) }
    return held
  }

  /// One scope, with what an order has by default.
  @discardableResult
  package func acquire(_ scope: String, milliseconds: Int = 500) async throws -> Held {
    var order = AcquireOrder([scope])
    order.milliseconds = milliseconds
    return try await acquire(order)[0]
  }

  /// - Throws: `ConformanceError` when the writer has ended. That the resource did not answer is an answer.
  package func send(_ request: ResourceRequest) async throws -> ResourceAnswer {
    guard case .answered(let answer) = try await ask(.send(request)) else {
      throw ConformanceError("\(holder) wrote and was answered with something else")
    }
    return answer
  }

  /// A request that has to pass for the scenario to go on.
  /// - Throws: `ConformanceError` with what was answered otherwise.
  @discardableResult
  package func mustSend(_ request: ResourceRequest) async throws -> ResourceAnswer {
    let answer = try await send(request)
    guard answer.isAccepted else {
      throw ConformanceError("\(holder)'s \(request.statements) should pass and was answered with \(answer.summary)")
    }
    return answer
  }

  /// Returns when the writer itself takes what it holds for lost.
  package func waitUntilLost() async throws -> Loss {
    guard case .lost(let loss) = try await ask(.untilLost) else {
      throw ConformanceError("\(holder) was asked for the loss and answered with something else")
    }
    return loss
  }

  /// Gives up what it holds.
  package func release() async throws { _ = try await ask(.release) }

  /// Works on the set of the lock-set workload until `stopWork`.
  package func work(_ work: SetWork) async throws -> SetReport {
    guard case .worked(let report) = try await ask(.work(work)) else {
      throw ConformanceError("\(holder) worked and answered with something else")
    }
    return report
  }

  package func stopWork() async throws { _ = try await ask(.stop) }

  /// Whether it works on the set under a lock at this moment, as far as it knows.
  package func isHolding() async throws -> Bool {
    guard case .holding(let holds) = try await ask(.isHolding) else {
      throw ConformanceError("\(holder) was asked whether it holds and answered with something else")
    }
    return holds
  }

  /// Returns when the process stands still.
  package func pause() async throws { try await program.pause() }
  package func resume() { program.send(SIGCONT) }
  package func kill() { program.send(SIGKILL) }

  /// Kills it, and returns when it is gone.
  package func end() async {
    kill()
    _ = await program.exitCode()
  }

  /// Also returns, with a failure, when the writer ends or the task is cancelled.
  private func ask(_ order: WriterOrder) async throws -> WriterReport {
    let number = reports.state.withLock { state in
      state.next += 1
      return state.next
    }
    var line = try JSONEncoder().encode(NumberedOrder(number: number, order: order))
    line.append(UInt8(ascii: "\n"))
    let text = String(decoding: line, as: UTF8.self)
    let report = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let failure = reports.state.withLock { state -> WriterReport? in
          if state.hasEnded { return .failed("the writer has ended") }
          if Task.isCancelled { return .failed("cancelled") }
          state.waiting[number] = continuation
          return nil
        }
        if let failure { return continuation.resume(returning: failure) }
        do { try program.write(text) } catch { settle(number, .failed("the writer takes no orders: \(error)")) }
      }
    } onCancel: {
      settle(number, .failed("cancelled"))
    }
    if case .failed(let why) = report {
      try Task.checkCancellation()
      throw ConformanceError("\(holder): \(why)")
    }
    return report
  }

  private func settle(_ number: Int, _ report: WriterReport) {
    let waiting = reports.state.withLock { $0.waiting.removeValue(forKey: number) }
    waiting?.resume(returning: report)
  }
}
