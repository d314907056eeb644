// Owns what the work of a node costs: the processor time of each step on the way of an operation.
//
// The defaults were measured on a machine with two virtual processors by the calibration of
//
//   portcullis plan --validate --directory DIR --output json      (its field `costs`)
//
// They are costs of that machine. Another one has others, and `--costs FILE` takes what its own calibration found.

/// Processor time in nanoseconds, unless a field says otherwise.
package struct Costs: Sendable, Equatable, Codable {
  /// At the client, for each operation. Counts only where the clients share the nodes' machine.
  package var clientSend = 10_600.0
  /// And for its start at the intended time, where the load is open.
  package var clientDispatch = 2000.0
  package var clientReceive = 10_600.0
  /// A request read and decoded on an event loop; its answer encoded and written.
  package var requestIn = 14_200.0
  package var answerOut = 14_200.0
  /// What the first of them costs more after a wake-up: the code of gRPC is long, and no longer in the caches.
  package var requestWake = 78_100.0
  /// A thread goes to sleep and is woken: the system calls on both sides, and what was forgotten meanwhile. That much after a
  /// long rest of the processor, and less after a short one (Processors.swift).
  package var clientWake = 109_000.0
  package var dispatcherWake = 71_700.0
  package var eventLoopWake = 48_600.0
  package var loopWake = 53_900.0
  package var writerWake = 43_200.0
  /// A message to a peer encoded and written, or read and decoded; and each entry in it.
  package var messageOut = 3120.0
  package var messageIn = 3120.0
  package var entryOnWire = 2970.0
  /// Something between the nodes that holds messages back takes one up, or passes it on, and how much its thread's waking is.
  package var relay = 3720.0
  package var relayWake = 92_500.0
  /// A turn of the loop, whatever it has to do.
  package var turn = 6780.0
  /// And more where anything is applied: it is published, and timers and metrics are looked at.
  package var applyTurn = 34_600.0
  /// A command that is proposed, one that is applied, and a linearizable read, on the loop.
  package var proposal = 7400.0
  package var apply = 17_300.0
  package var read = 7400.0
  /// A group of the log writer beside its flush; each entry in it; each entry that is moved into the tree later.
  package var group = 54_700.0
  package var groupEntry = 1000.0
  package var settleEntry = 3010.0
  /// What the kernel does when a flush ends, on a thread of its own.
  package var flushEnd = 17_800.0
  /// An event to one watcher.
  package var event = 4560.0
  /// Not processor time: from waking a thread to its first instruction, on a processor that was at rest for a while.
  package var wakeLatency = 42_000.0
  /// No time but a share, from 0 to 1: what remains of the latency of waking where the processor has hardly rested.
  package var wakeFloor = 0.07
  /// How long a processor has to rest until waking it takes all of that latency, and all of the work: it sleeps in steps, and
  /// forgets.
  package var deepRest = 181_000.0
  package var coldRest = 419_000.0
  /// Shares from 0 to 1 of the work of waking that remain: where the processor has hardly rested, and where none rests.
  package var wakeWorkAfterShortRest = 0.83
  package var wakeWorkWithoutRest = 0.64
  /// How often a second something that is no part of the cluster takes one of a machine's processors, and for how long at the
  /// mean: the kernel's own threads, and what lies below a virtual machine.
  package var stallsPerSecond = 0.0
  package var stallNanoseconds = 2_000_000.0

  package init() {}

  /// The same with all processor time multiplied. Waiting for a processor to wake up is not its speed.
  package func scaled(by factor: Double) -> Costs {
    var costs = self
    for field in Self.work { costs[keyPath: field] *= factor }
    return costs
  }

  /// Every field that is processor time.
  private static var work: [WritableKeyPath<Costs, Double>] {
    [
      \.clientSend, \.clientDispatch, \.clientReceive, \.requestIn, \.answerOut, \.requestWake, \.clientWake,
      \.dispatcherWake, \.eventLoopWake, \.loopWake, \.writerWake, \.messageOut, \.messageIn,
      \.entryOnWire, \.relay, \.relayWake, \.turn, \.applyTurn, \.proposal, \.apply, \.read, \.group, \.groupEntry,
      \.settleEntry, \.event, \.flushEnd,
    ]
  }

  /// Nothing costs anything.
  package static let none: Costs = {
    var costs = Costs().scaled(by: 0)
    costs.wakeLatency = 0
    costs.stallsPerSecond = 0
    return costs
  }()

  /// Why these cannot be costs, or nil.
  package var complaint: String? {
    let all = Self.work.map { self[keyPath: $0] } + [wakeLatency, deepRest, coldRest]
    let shares = [
      ("wake_floor", wakeFloor), ("wake_work_after_short_rest", wakeWorkAfterShortRest),
      ("wake_work_without_rest", wakeWorkWithoutRest),
    ]
    for (name, share) in shares where !(share >= 0 && share <= 1) {
      return "\(name) is a share from 0 to 1, not \(share)"
    }
    guard stallsPerSecond >= 0, stallsPerSecond <= 1000, stallNanoseconds >= 0, stallNanoseconds < 1e9 else {
      return "stalls_per_second is from 0 to 1000, and stall_nanoseconds less than a second"
    }
    guard all.allSatisfy({ $0.isFinite && $0 >= 0 && $0 < 1e9 }) else {
      return "a cost is negative, or a second and more: costs are nanoseconds of processor time"
    }
    return nil
  }
}
