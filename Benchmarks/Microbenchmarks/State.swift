// The replicated state: commands as bytes, and applying them.

import Benchmark
import CoordinationCore

func stateBenchmarks() {
  let value = [UInt8](repeating: 7, count: 256)

  func put(_ number: Int) -> Envelope {
    let key = Key(Array("key/\(String(number + 1_000_000))".utf8))
    return Envelope(origin: 1, request: UInt64(number + 1), command: .put(PutRequest(key: key, value: value)))
  }

  Counting.measure("command-encode", prepare: { put(1) }) { envelope in
    for _ in 0..<Counting.operations { blackHole(envelope.encoded()) }
  }

  Counting.measure("command-decode", prepare: { put(1).encoded() }) { bytes in
    for _ in 0..<Counting.operations { blackHole(try Envelope.decode(bytes)) }
  }

  // Puts to a tenth of 10,000 keys. Each sample starts from the same state: what is shared with it is copied as it is
  // changed, as it is for a node whose readers hold the state before.
  Counting.measure("apply-put", prepare: { (filled(with: (0..<10_000).map(put)), (0..<1000).map { put($0 * 10) }) }) {
    prepared in
    for (place, envelope) in prepared.1.enumerated() {
      blackHole(prepared.0.apply(envelope, index: UInt64(20_000 + place), clockMilliseconds: 1))
    }
  }
}

private func filled(with envelopes: [Envelope]) -> Coordination {
  var state = Coordination()
  for (place, envelope) in envelopes.enumerated() {
    blackHole(state.apply(envelope, index: UInt64(place + 1), clockMilliseconds: 1))
  }
  return state
}
