// Owns the operations in flight on one event loop, and the clients of a closed loop.
//
// Invariant: a ticket opens one operation and closes it at most once, however often its answer and its timeout race.

struct Operation {
  /// The client of a closed loop, or -1.
  var client: Int
  /// Which of a mix's operations.
  var part: Int
  /// When it was due; in a closed loop, when it was sent.
  var intended: UInt64
  var sent: UInt64
}

struct OperationTable {
  /// Names one operation. The generation tells it from a later one in the same slot.
  struct Ticket: Hashable {
    var slot: Int
    var generation: UInt64
  }

  private struct Slot {
    var generation: UInt64 = 0
    var operation: Operation?
  }

  private var slots: [Slot] = []
  private var free: [Int] = []
  private(set) var inFlight = 0

  mutating func open(_ operation: Operation) -> Ticket {
    inFlight += 1
    guard let slot = free.popLast() else {
      slots.append(Slot(operation: operation))
      return Ticket(slot: slots.count - 1, generation: 0)
    }
    slots[slot].operation = operation
    return Ticket(slot: slot, generation: slots[slot].generation)
  }

  /// The operation, the first time; nil after that.
  mutating func close(_ ticket: Ticket) -> Operation? {
    guard slots[ticket.slot].generation == ticket.generation, let operation = slots[ticket.slot].operation else {
      return nil
    }
    slots[ticket.slot].generation &+= 1
    slots[ticket.slot].operation = nil
    free.append(ticket.slot)
    inFlight -= 1
    return operation
  }

  func tickets(sentBefore instant: UInt64) -> [Ticket] {
    slots.indices.compactMap { slot in
      guard let operation = slots[slot].operation, operation.sent < instant else { return nil }
      return Ticket(slot: slot, generation: slots[slot].generation)
    }
  }
}

/// The clients of a closed loop on one event loop: which lane each uses, how often each has failed in a row, and which
/// wait for their lane to come back.
struct ClosedClients {
  private static let longestPauseMilliseconds: Int64 = 1_000

  private let lanes: Int
  private var failuresInRow: [Int]
  private var parked: [[Int]]

  init(count: Int, lanes: Int) {
    self.lanes = lanes
    failuresInRow = [Int](repeating: 0, count: count)
    parked = [[Int]](repeating: [], count: lanes)
  }

  var count: Int { failuresInRow.count }

  func lane(of client: Int) -> Int { client % lanes }

  mutating func succeeded(_ client: Int) { failuresInRow[client] = 0 }

  /// How many milliseconds the client is to wait: 10 after the first failure, doubling to a second.
  mutating func failed(_ client: Int) -> Int64 {
    defer { failuresInRow[client] += 1 }
    return Swift.min(Self.longestPauseMilliseconds, 10 << Int64(Swift.min(failuresInRow[client], 10)))
  }

  mutating func park(_ client: Int) { parked[lane(of: client)].append(client) }

  mutating func unpark(lane: Int) -> [Int] {
    defer { parked[lane] = [] }
    return parked[lane]
  }
}
