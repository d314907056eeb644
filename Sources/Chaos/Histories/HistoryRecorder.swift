// The load: clients that read, write, delete and compare over a few keys at once, and the record of what they saw.
//
// The keys in use change as the run goes on, a few at each fault: an operation whose outcome is unknown stays possible
// for as long as its key is looked at, and a key that had too many of them could be explained by almost anything.

import Foundation
import NIOCore
import Synchronization

package final class HistoryRecorder: Sendable {
  private struct State {
    var operations: [HistoryOperation] = []
    var acknowledged = 0
    /// Acknowledged by each node.
    var byNode: [Int]
    var nextKey = keysAtOnce
    var keys: [String]
    var isStopped = false
  }

  private static let keysAtOnce = 5
  package static let defaultPrefix = "history/"

  /// What its keys begin with: nobody else's do.
  package let prefix: String
  private let ports: [Int]
  /// What its values begin with, so that no other recorder writes the same.
  private let mark: String
  /// The longest pause between an answer and the next operation, in milliseconds.
  private let pause: Int
  private let state: Mutex<State>

  package init(ports: [Int], prefix: String = defaultPrefix, mark: String = "", pauseMilliseconds: Int = 12) {
    self.ports = ports
    self.prefix = prefix
    self.mark = mark
    pause = pauseMilliseconds
    state = Mutex(
      State(
        byNode: ports.map { _ in 0 }, keys: (0..<Self.keysAtOnce).map { "\(prefix)\($0)" }))
  }

  package var operations: [HistoryOperation] { state.withLock { $0.operations } }
  package var acknowledged: Int { state.withLock { $0.acknowledged } }
  package var acknowledgedByNode: [Int] { state.withLock { $0.byNode } }

  package func stop() { state.withLock { $0.isStopped = true } }
  private var isStopped: Bool { state.withLock { $0.isStopped } }

  package func record(_ operation: HistoryOperation) {
    state.withLock { state in
      state.operations.append(operation)
      if operation.isAcknowledged {
        state.acknowledged += 1
        state.byNode[operation.node] += 1
      }
    }
  }

  /// Takes the oldest keys out of use and new ones in.
  package func renewKeys(_ count: Int) {
    state.withLock { state in
      state.keys.removeFirst(count)
      for _ in 0..<count {
        state.keys.append("\(prefix)\(state.nextKey)")
        state.nextKey += 1
      }
    }
  }

  /// One client's life: an operation, a short pause, the next, until `stop`.
  package func run(client number: Int, random: HistoryRandom) async {
    var random = random
    let client = HistoryClient(number, ports: ports, node: number % ports.count)
    var seen: [String: HistoryState] = [:]
    var count = 0
    while !isStopped {
      count += 1
      let keys = state.withLock { $0.keys }
      let key = keys[Int.random(in: 0..<keys.count, using: &random)]
      let call = Self.draw(value: "\(mark)\(number).\(count)", seen: seen[key], &random)
      let operation = await client.perform(call, on: key, timeout: Self.timeout(&random))
      record(operation)
      var longest = pause
      switch operation.outcome {
      case .ok(let answer, let revision):
        seen[key] = Self.state(after: call, answer, revision)
      case .failed, .unknown:
        // Half of them stay where they are: a node that is cut off must have clients too. Those that moved come back.
        if Bool.random(using: &random) { client.moveOn() }
        longest = max(60, pause)
      }
      if count % 100 == 0 { client.moveOn(to: number) }
      try? await Task.sleep(for: .milliseconds(Int.random(in: 0...longest, using: &random)))
    }
    client.close()
  }

  /// Some wait long enough to be answered by a node that was stopped and goes on, or by one that was cut off.
  private static func timeout(_ random: inout HistoryRandom) -> TimeAmount {
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<6: .milliseconds(600)
    case 6..<9: .milliseconds(1500)
    default: .milliseconds(4000)
    }
  }

  private static func draw(value: String, seen: HistoryState?, _ random: inout HistoryRandom) -> HistoryCall {
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<45: return .get
    case 45..<70: return .put(value)
    case 70..<77: return .delete
    case 77..<90: return .compareAndPut(.modRevision(seen?.modRevision ?? 0), value)
    default:
      // The value of a key that is not there cannot be compared with: etcd takes that for unequal.
      guard let old = seen?.value else { return .compareAndPut(.modRevision(0), value) }
      return .compareAndPut(.value(old), value)
    }
  }

  private static func state(after call: HistoryCall, _ answer: HistoryAnswer, _ revision: Int64) -> HistoryState {
    switch answer {
    case .read(let state), .differed(let state): state
    case .written, .exchanged: HistoryState(value: call.value, modRevision: revision)
    case .deleted: .absent
    }
  }
}
