import DiskProbe
import Testing

@Suite("What the system says of a disk is read")
struct ProbedDiskTests {
  private let table = """
    22 27 0:21 / /proc rw,relatime - proc proc rw
    27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
    30 27 0:25 / /var rw,relatime shared:1 master:2 - tmpfs tmp rw,size=4k
    31 27 8:1 / /var/lib/my\\040disk rw,noatime - xfs /dev/sda1 rw,nobarrier
    32 27 8:2 / /srv rw - ext4 /dev/sda2 rw
    33 32 0:40 / /srv rw - nfs4 host:/x rw,vers=4.2
    broken line
    """

  private func mount(_ path: String) -> ProbedDisk.Mount? { ProbedDisk.mount(of: path, in: table) }

  @Test("The nearest mount above a directory is its own, by whole names")
  func nearest() {
    #expect(mount("/tmp/x")?.source == "/dev/vda")
    #expect(mount("/var")?.fileSystem == "tmpfs")
    #expect(mount("/var/lib")?.fileSystem == "tmpfs")
    #expect(mount("/variable")?.fileSystem == "ext4")
    #expect(mount("/")?.deviceNumber == "254:0")
  }

  @Test("Blanks in names, options of both kinds, and what lies on top of another mount are read")
  func details() {
    let disk = mount("/var/lib/my disk/data")
    #expect(disk?.point == "/var/lib/my disk" && disk?.fileSystem == "xfs")
    #expect(disk?.options == "rw,noatime,rw,nobarrier")
    #expect(mount("/srv/data")?.fileSystem == "nfs4")
    #expect(ProbedDisk.mount(of: "/tmp", in: "") == nil)
  }

  @Test("A real directory has a file system and room")
  func real() throws {
    let disk = try ProbedDisk(of: "/tmp/../tmp")
    #expect(disk.directory == "/tmp" && disk.fileSystem != "unknown" && disk.mountPoint.hasPrefix("/"))
    #expect(disk.freeBytes > 0 && disk.processors > 0 && !disk.kernel.isEmpty)
  }
}
