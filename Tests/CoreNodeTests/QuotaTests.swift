// How large the store may grow, as the flag has it.

import CoordinationCore
import CoreNode
import Testing

@Suite("The quota")
struct QuotaTests {
  private let put = Command.put(PutRequest(key: Key([1]), value: [2]))

  @Test("is etcd's by default and at 0, and off below it")
  func flag() {
    #expect(Quota().bytes == 2_147_483_648 && Quota(flag: 0) == Quota())
    #expect(Quota(flag: 4096).bytes == 4096)
    #expect(Quota(flag: -1).bytes == nil && Quota(flag: -1).admits(put, storeBytes: .max))
  }

  @Test("refuses what would not fit, and nothing that makes room")
  func admission() {
    let quota = Quota(flag: 1000)
    #expect(quota.admits(put, storeBytes: 1000 - 130))
    #expect(!quota.admits(put, storeBytes: 1001 - 130))
    #expect(quota.admits(.leaseGrant(1, ttlMilliseconds: 1), storeBytes: 1000))
    #expect(!quota.admits(.leaseGrant(1, ttlMilliseconds: 1), storeBytes: 1001))
    for command in [.compact(3), .leaseRevoke(1), .leaseRenew(1), .markClock] as [Command] {
      #expect(quota.admits(command, storeBytes: 5000))
    }
  }
}
