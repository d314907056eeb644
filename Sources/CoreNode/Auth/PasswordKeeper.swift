// Hashes and checks passwords, which takes a tenth of a second and megabytes each: on threads of its own, behind
// everything else, and only so many at a time. A node on which nobody logs in has none of these threads.
//
// Must never: let a caller find out by the time that it takes whether a user exists.

import CoordinationCore
import NIOConcurrencyHelpers
import NIOCore
import Wire

final class PasswordKeeper: Sendable {
  private static let maxThreads = 2
  /// Beyond these a caller is turned away at once: it would wait for seconds.
  private static let maxWaiting = 64
  /// Behind what serves everybody else.
  private static let niceness: Int32 = 10

  private struct Workers {
    var threads: [JobThread] = []
    var next = 0
    var waiting = 0
    var isStopped = false
  }

  private let cost: Int
  private let decoy: PasswordHash
  private let workers = NIOLockedValueBox(Workers())

  init(cost: Int) {
    self.cost = cost
    decoy = .decoy(cost: cost)
  }

  /// Calls `body` on the event loop with what is to be kept of the password.
  func hash(
    _ password: Bytes, salt: Bytes, on eventLoop: any EventLoop,
    _ body: @escaping @Sendable (Result<Bytes, RPCStatus>) -> Void
  ) {
    submit(on: eventLoop, body) { [cost] in PasswordHash(of: password, salt: salt, cost: cost).encoded }
  }

  /// Calls `body` on the event loop with whether the password is the one that `stored` was made of. Nothing stored, for
  /// want of a user or of a password, takes as long.
  func check(
    _ password: Bytes, against stored: Bytes?, on eventLoop: any EventLoop,
    _ body: @escaping @Sendable (Result<Bool, RPCStatus>) -> Void
  ) {
    let hash = stored.flatMap { PasswordHash($0) }
    submit(on: eventLoop, body) { [decoy] in
      let fits = (hash ?? decoy).fits(password)
      return fits && hash != nil
    }
  }

  private func submit<T: Sendable>(
    on eventLoop: any EventLoop, _ body: @escaping @Sendable (Result<T, RPCStatus>) -> Void,
    _ work: @escaping @Sendable () -> T
  ) {
    let refusal = workers.withLockedValue { workers -> RPCStatus? in
      guard !workers.isStopped else { return .stopping }
      guard workers.waiting < Self.maxWaiting else { return .etcd(.resourceExhausted, "too many requests") }
      if workers.threads.count < Self.maxThreads {
        workers.threads.append(JobThread(name: "passwords", niceness: Self.niceness))
      }
      let thread = workers.threads[workers.next % workers.threads.count]
      workers.next += 1
      workers.waiting += 1
      thread.submit { [self, unowned thread] in
        // Whoever waits when the node stops is not kept waiting for the sums of those before.
        let result: Result<T, RPCStatus> = thread.isStopping ? .failure(.stopping) : .success(work())
        self.workers.withLockedValue { $0.waiting -= 1 }
        eventLoop.execute { body(result) }
      }
      return nil
    }
    if let refusal { eventLoop.execute { body(.failure(refusal)) } }
  }

  /// Returns when the threads have ended, everybody who waited being answered.
  func stop() {
    let threads = workers.withLockedValue { workers in
      workers.isStopped = true
      return workers.threads
    }
    for thread in threads { thread.stop() }
  }
}
