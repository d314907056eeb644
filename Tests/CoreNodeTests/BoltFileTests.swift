// Files as bbolt has them, read back page by page. That etcd's own tools read them is shown in SystemTests.

import CoreNode
import Testing

@Suite("A file as bbolt has it")
struct BoltFileTests {
  /// Reads what a bbolt of its own would: the newer meta page, then buckets, down their branches. Every page is reached
  /// once, or the file would be taken for damaged.
  private struct Reader {
    let bytes: [UInt8]
    var reached: Set<UInt64> = [0, 1]

    func number(_ offset: Int, _ width: Int) -> UInt64 {
      (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }

    mutating func buckets() -> [String: [(key: [UInt8], value: [UInt8])]] {
      let meta = 4096 + 16
      #expect(number(meta, 4) == 0xED0C_DAED && number(meta, 4 + 4) >> 32 == 2 && number(meta + 8, 4) == 4096)
      #expect(number(meta + 40, 8) * 4096 == UInt64(bytes.count))
      reach(number(meta + 32, 8))
      var all: [String: [(key: [UInt8], value: [UInt8])]] = [:]
      for bucket in items(of: number(meta + 16, 8), isOfBuckets: true) {
        let root = (0..<8).reduce(0 as UInt64) { $0 | UInt64(bucket.value[$1]) << UInt64(8 * $1) }
        all[String(decoding: bucket.key, as: UTF8.self)] = root == 0 ? [] : items(of: root, isOfBuckets: false)
      }
      #expect(reached == Set(0..<UInt64(bytes.count / 4096)), "no page is lost")
      return all
    }

    private mutating func reach(_ page: UInt64) {
      let start = Int(page) * 4096
      #expect(number(start, 8) == page)
      for page in page...(page + number(start + 12, 4)) {
        let isNew = reached.insert(page).inserted
        #expect(isNew)
      }
    }

    private mutating func items(of page: UInt64, isOfBuckets: Bool) -> [(key: [UInt8], value: [UInt8])] {
      reach(page)
      let start = Int(page) * 4096
      var found: [(key: [UInt8], value: [UInt8])] = []
      for index in 0..<Int(number(start + 10, 2)) {
        let element = start + 16 + 16 * index
        if number(start + 8, 2) == 1 {
          let key = element + Int(number(element, 4))
          let below = items(of: number(element + 8, 8), isOfBuckets: isOfBuckets)
          #expect(below.first?.key == Array(bytes[key..<(key + Int(number(element + 4, 4)))]))
          found += below
        } else {
          let key = element + Int(number(element + 4, 4))
          let value = key + Int(number(element + 8, 4))
          #expect(number(element, 4) == (isOfBuckets ? 1 : 0))
          found.append((Array(bytes[key..<value]), Array(bytes[value..<(value + Int(number(element + 12, 4)))])))
        }
      }
      return found
    }
  }

  private func written(_ buckets: [BoltBucket]) -> [UInt8] {
    let file = BoltFile(buckets)
    var writer = BoltWriter(file)
    var bytes: [UInt8] = []
    while let pages = writer.next() { bytes += pages }
    #expect(bytes.count == file.sizeBytes)
    return bytes
  }

  @Test("has every item once and in order, whatever their number and size", arguments: [0, 1, 2, 100, 5000, 60_000])
  func items(count: Int) {
    let large = [7, 8, 9, 4000]
    let items = (0..<count).map { index -> (key: [UInt8], value: [UInt8]) in
      let key = (0..<4).map { UInt8(truncatingIfNeeded: index >> (24 - 8 * $0)) }
      return (key, [UInt8](repeating: UInt8(index % 251), count: large.contains(index) ? 100_000 : index % 90))
    }
    var reader = Reader(bytes: written([BoltBucket("a"), BoltBucket("key", items), BoltBucket("z", [([1], [])])]))
    let found = reader.buckets()
    #expect(found.keys.sorted() == ["a", "key", "z"] && found["a"]?.isEmpty == true && found["z"]?.count == 1)
    #expect(found["key"].map { $0.elementsEqual(items) { $0.key == $1.key && $0.value == $1.value } } == true)
  }
}
