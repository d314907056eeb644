// Lists: the keys from one of them on, as many as were asked for, as a controller reads what it looks after.

import Measurement
import NIOCore
import Protocol
import Wire

final class ListDriver: LoadDriver {
  private let template: RangeTemplate
  private let keyCount: UInt64
  private var keys: KeySequence
  private let oracle: RevisionOracle

  init(_ plan: LoadPlan, _ place: LoopPlace, _ oracle: RevisionOracle, limit: Int) {
    template = RangeTemplate(
      keyPrefix: plan.configuration.keyPrefix, keySizeBytes: plan.configuration.keySizeBytes, limit: limit)
    keyCount = plan.configuration.keyCount
    keys = KeySequence(plan.configuration, place)
    self.oracle = oracle
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    let (before, key) = (oracle.highest, keys.next())
    // Keys of another run may lie behind: more is no wrong answer, fewer is.
    let least = keyCount - key
    let oracle = NIOLoopBound(oracle, eventLoop: connection.eventLoop)
    connection.unary(RPCPath.KV.range, template.request(forKey: key)) { result in
      sink.ended(
        call.ticket,
        OperationEnding(result) { answer in
          let found = RangeAnswer(answer)
          var violation = oracle.value.checkRead(found.revision, after: before)
          if violation == nil, found.count < least {
            violation = "of the \(least) keys from \(key) on, put before the load, \(found.count) were found"
          }
          return OperationEnding(.succeeded, violation: violation)
        })
    }
  }
}
