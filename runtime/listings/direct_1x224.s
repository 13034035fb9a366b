# f32_panel_direct_1x224__avx512, per iteration: 14 FMAs + 1 vpbroadcastd: 7.5 cycles at 2 per cycle; 15 loads: 7.5 cycles at 2 per cycle. Bound: 7.5 cycles.
loop:
    mov (r0),r1
    vpbroadcastd r1d,z0
    shr $0x20,r1
    vfmadd231ps (r2,r1,1),z0,z1
    vfmadd231ps 0x40(r2,r1,1),z0,z2
    vfmadd231ps 0x80(r2,r1,1),z0,z3
    vfmadd231ps 0xc0(r2,r1,1),z0,z4
    vfmadd231ps 0x100(r2,r1,1),z0,z5
    vfmadd231ps 0x140(r2,r1,1),z0,z6
    vfmadd231ps 0x180(r2,r1,1),z0,z7
    vfmadd231ps 0x1c0(r2,r1,1),z0,z8
    vfmadd231ps 0x200(r2,r1,1),z0,z9
    vfmadd231ps 0x240(r2,r1,1),z0,z10
    vfmadd231ps 0x280(r2,r1,1),z0,z11
    vfmadd231ps 0x2c0(r2,r1,1),z0,z12
    vfmadd231ps 0x300(r2,r1,1),z0,z13
    vfmadd231ps 0x340(r2,r1,1),z0,z14
    add $0x8,r0
    cmp r3,r0
    jb loop
