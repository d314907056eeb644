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
  package var clientSend = 6100.0
  /// And for its start at the intended time, where the load is open.
  package var clientDispatch = 2000.0
  package var clientReceive = 6100.0
  /// A request read and decoded on an event loop; its answer encoded and written.
  package var requestIn = 7700.0
  package var answerOut = 7700.0
  /// A thread goes to sleep and is woken: the system calls on both sides, and what was forgotten meanwhile. That much after a
  /// long rest of the processor, and less after a short one (Processors.swift).
  package var clientWake = 90_000.0
  package var dispatcherWake = 5000.0
  package var eventLoopWake = 65_000.0
  package var loopWake = 40_000.0
  package var writerWake = 16_000.0
  /// A message to a peer encoded and written, or read and decoded; and each entry in it.
  package var messageOut = 15_000.0
  package var messageIn = 15_000.0
  package var entryOnWire = 1500.0
  /// A turn of the loop, whatever it has to do.
  package var turn = 15_000.0
  /// A command that is proposed, one that is applied, and a linearizable read, on the loop.
  package var proposal = 3400.0
  package var apply = 8000.0
  package var read = 3400.0
  /// A group of the log writer beside its flush; each entry in it; each entry that is moved into the tree later.
  package var group = 32_000.0
  package var groupEntry = 500.0
  package var settleEntry = 1500.0
  /// An event to one watcher.
  package var event = 2600.0
  /// Not processor time: from waking a thread to its first instruction, on a processor that was at rest for a while.
  package var wakeLatency = 70_000.0
  /// No time but a share, from 0 to 1: what remains of the latency of waking where the processor has hardly rested.
  package var wakeFloor = 0.1

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
      \.clientSend, \.clientDispatch, \.clientReceive, \.requestIn, \.answerOut, \.clientWake,
      \.dispatcherWake, \.eventLoopWake, \.loopWake, \.writerWake, \.messageOut, \.messageIn,
      \.entryOnWire,
      \.turn, \.proposal, \.apply, \.read, \.group, \.groupEntry, \.settleEntry, \.event,
    ]
  }

  /// Nothing costs anything.
  package static let none: Costs = {
    var costs = Costs().scaled(by: 0)
    costs.wakeLatency = 0
    return costs
  }()

  /// Why these cannot be costs, or nil.
  package var complaint: String? {
    let all = Self.work.map { self[keyPath: $0] } + [wakeLatency]
    guard wakeFloor >= 0, wakeFloor <= 1 else { return "wake_floor is a share from 0 to 1, not \(wakeFloor)" }
    guard all.allSatisfy({ $0.isFinite && $0 >= 0 && $0 < 1e9 }) else {
      return "a cost is negative, or a second and more: costs are nanoseconds of processor time"
    }
    return nil
  }
}
