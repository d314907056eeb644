// What is behind an adapter, as a writer sees it: a lock service whose leases the writer's own process renews, so that they
// end when it is stopped, and a resource that keeps texts.

import Dispatch
import Foundation
import Synchronization

/// The locks behind an adapter. Any task may use it.
package final class AdapterLocks: LockService {
  private struct Lock: Sendable {
    let held: String
    let renewal: Task<Loss, Never>
  }

  private let adapter: AdapterClient
  private let holder: String
  private let locks = Mutex<[Lock]>([])

  package init(address: String, holder: String) {
    adapter = AdapterClient(address: address)
    self.holder = holder
  }

  /// Some services end leases only after a minute.
  private static let waitAtLeastMilliseconds = 60_000

  /// Asks until it is granted or the wait is over: an adapter may wait, or answer at once that somebody else has it.
  package func acquire(_ order: AcquireOrder) async throws -> [Held] {
    guard order.scopes.count == 1 else { throw ConformanceError("an adapter has no locks over several scopes") }
    let scope = order.scopes[0]
    let wait = max(order.waitMilliseconds, Self.waitAtLeastMilliseconds)
    let end = ContinuousClock.now + .milliseconds(wait)
    while ContinuousClock.now < end {
      let left = max(1, Int((end - ContinuousClock.now) / .milliseconds(1)))
      let acquired = try await adapter.acquire(
        scope, owner: holder, milliseconds: order.milliseconds, waitMilliseconds: left)
      if acquired.granted, let held = try await keep(acquired, scope) { return [held] }
      // The pace of asking, where an adapter answers at once.
      try await Task.sleep(for: .milliseconds(20))
    }
    throw ConformanceError(
      "\(scope) was not granted to \(holder) within \(wait) ms. A holder that is stopped renews nothing, so its lease should"
        + " have ended: an adapter must not renew leases by itself, nor hold locks on a connection of its own")
  }

  /// Renews at once: how long a lease is good for counts from a renewal's sending, and when a grant was made that came after
  /// a wait nobody knows.
  /// - Returns: nil where it had ended by then.
  private func keep(_ acquired: AdapterClient.Acquired, _ scope: String) async throws -> Held? {
    guard let name = acquired.held, let milliseconds = acquired.milliseconds else { return nil }
    let sent = DispatchTime.now().uptimeNanoseconds
    guard try await adapter.renew(name) else { return nil }
    let renewal = Task { [adapter] in
      await Self.keepAlive(name, sent: sent, length: UInt64(milliseconds) * 1_000_000, adapter)
    }
    locks.withLock { $0.append(Lock(held: name, renewal: renewal)) }
    var held = Held(
      scope: scope, number: acquired.number ?? 0, proof: acquired.proof ?? "", lease: 0, isConfirmed: false)
    (held.name, held.leaseMilliseconds) = (name, milliseconds)
    return held
  }

  /// Three times in the lease's length, until it is gone by the writer's own clock or the task is cancelled.
  private static func keepAlive(
    _ held: String, sent: UInt64, length: UInt64, _ adapter: AdapterClient
  ) async -> Loss {
    var deadline = sent + length
    while true {
      // The pace of renewing.
      guard (try? await Task.sleep(for: .nanoseconds(Int64(length / 3)))) != nil else {
        return Loss(why: "given up", nanoseconds: DispatchTime.now().uptimeNanoseconds)
      }
      let sent = DispatchTime.now().uptimeNanoseconds
      if sent >= deadline { return Loss(why: "deadline passed", nanoseconds: deadline) }
      // Each waits for its answer no longer than until the next is due.
      let timeout = Duration.nanoseconds(Int64(min(deadline - sent, length / 3)))
      guard let isAlive = try? await adapter.renew(held, within: timeout) else { continue }
      guard isAlive else { return Loss(why: "ended", nanoseconds: DispatchTime.now().uptimeNanoseconds) }
      deadline = sent + length
    }
  }

  package func waitUntilLost() async -> Loss? { await locks.withLock { $0.last }?.renewal.value }

  package func release() async {
    let held = locks.withLock { locks in
      defer { locks = [] }
      return locks
    }
    for lock in held {
      lock.renewal.cancel()
      // What fails ends by itself.
      try? await adapter.release(lock.held)
    }
  }

  package func close() async { await release() }
}

/// The resource behind an adapter. Any task may use it.
package struct AdapterResource: Resource {
  private let adapter: AdapterClient
  private let owner: String

  package init(address: String, owner: String) {
    adapter = AdapterClient(address: address)
    self.owner = owner
  }

  /// 200 and 409 are the only answers that count. Whatever else comes is none, with what was expected in its text.
  package func send(_ request: ResourceRequest, proofs: [String]) async -> ResourceAnswer {
    let (path, fields, expected): (String, [String: AdapterClient.Field], String)
    switch request.text {
    case nil: return ResourceAnswer(status: 0, body: "\(request.statements) has no form for an adapter")
    case .read(let key): (path, fields, expected) = ("/read", ["key": .text(key)], Self.expectedOfRead)
    case .write(let key, let value):
      (path, fields, expected) = ("/write", ["key": .text(key), "value": .text(value)], Self.expectedOfWrite)
    }
    var all = fields
    all["lock"] = .text(request.database)
    all["owner"] = .text(owner)
    if let proof = proofs.first(where: { !$0.isEmpty }) { all["proof"] = .text(proof) }
    do {
      let (status, body) = try await adapter.exchange(
        "POST", path, all, expecting: expected, within: .milliseconds(request.timeoutMilliseconds))
      return try answer(status, body, path, expected)
    } catch {
      return .unanswered(error)
    }
  }

  private static let expectedOfRead = #"200 with {"value": "…"} or {"value": null}, or 409 where the fence refuses it"#
  private static let expectedOfWrite = "200 with {} where it was taken, or 409 where the fence refuses it"

  private func answer(_ status: Int, _ body: Data, _ path: String, _ expected: String) throws -> ResourceAnswer {
    struct Read: Decodable { let value: String? }
    var answer = ResourceAnswer(status: status, body: String(decoding: body, as: UTF8.self))
    switch (status, path) {
    case (409, _): return answer
    case (200, "/write"): return answer
    case (200, _):
      guard let read = try? JSONDecoder().decode(Read.self, from: body) else { break }
      answer.text = read.value
      return answer
    default: break
    }
    throw adapter.breach("POST \(path)", "answered with \(status) \(AdapterClient.text(body))", expected)
  }
}
