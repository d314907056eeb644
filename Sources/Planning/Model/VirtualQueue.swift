// Owns the order of virtual time: a heap by (time, sequence).
//
// It must never let two events of the same time change places: the sequence of scheduling decides, so that a seed gives one
// story. Time never runs backwards.

struct VirtualQueue<Event> {
  private struct Key {
    var time: UInt64
    var sequence: UInt64
    var slot: Int

    func isBefore(_ other: Key) -> Bool {
      time != other.time ? time < other.time : sequence < other.sequence
    }
  }

  // Events stay where they are while their keys move: a message is too large to be moved at every level.
  private var heap: [Key] = []
  private var slots: [Event?] = []
  private var free: [Int] = []
  private var sequence: UInt64 = 0
  private(set) var nowNanoseconds: UInt64 = 0

  mutating func push(_ event: Event, afterNanoseconds delay: UInt64) {
    push(event, atNanoseconds: nowNanoseconds + delay)
  }

  mutating func push(_ event: Event, atNanoseconds time: UInt64) {
    sequence += 1
    let slot: Int
    if let reused = free.popLast() {
      slot = reused
      slots[slot] = event
    } else {
      slot = slots.count
      slots.append(event)
    }
    heap.append(Key(time: max(time, nowNanoseconds), sequence: sequence, slot: slot))
    siftUp(heap.count - 1)
  }

  mutating func pop() -> Event? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      siftDown(0)
    }
    nowNanoseconds = first.time
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
