// Owns the order of virtual time: a heap by (time, sequence).
// Must never: let two events of the same time change places. The sequence of scheduling decides.
// Invariant: time never runs backwards; what is popped is the earliest of what was pushed.
//
// The heap holds small keys and the events stay where they are, since moving a message at every level of the heap
// would cost more than handling it.

struct EventQueue<Event> {
  private struct Key {
    var time: UInt64
    var sequence: UInt64
    var slot: Int

    func isBefore(_ other: Key) -> Bool {
      time != other.time ? time < other.time : sequence < other.sequence
    }
  }

  private var heap: [Key] = []
  private var slots: [Event?] = []
  private var free: [Int] = []
  private var sequence: UInt64 = 0
  private(set) var nowMicroseconds: UInt64 = 0

  var isEmpty: Bool { heap.isEmpty }

  mutating func push(_ event: Event, afterMicroseconds delay: UInt64) {
    sequence += 1
    var slot = slots.count
    if let reused = free.popLast() {
      slot = reused
      slots[slot] = event
    } else {
      slots.append(event)
    }
    heap.append(Key(time: nowMicroseconds + delay, sequence: sequence, slot: slot))
    siftUp(heap.count - 1)
  }

  mutating func pop() -> Event? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      siftDown(0)
    }
    nowMicroseconds = first.time
    free.append(first.slot)
    return slots[first.slot].take()
  }

  private mutating func siftUp(_ start: Int) {
    var position = start
    let key = heap[position]
    while position > 0 {
      let parent = (position - 1) / 2
      guard key.isBefore(heap[parent]) else { break }
      heap[position] = heap[parent]
      position = parent
    }
    heap[position] = key
  }

  private mutating func siftDown(_ start: Int) {
    var position = start
    let key = heap[position]
    while true {
      var child = 2 * position + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].isBefore(heap[child]) { child += 1 }
      guard heap[child].isBefore(key) else { break }
      heap[position] = heap[child]
      position = child
    }
    heap[position] = key
  }
}
